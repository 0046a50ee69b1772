//! What a task does with its life: a few random steps, each of which takes a bounded time.

use crate::kit::{Event, poll_once};
use crate::support::{Random, assert_pattern, pattern};
use crate::world::{Token, World, step};
use ringwork::core::move_to;
use ringwork::net::{TcpListener, TcpStream};
use ringwork::task::{self, JoinHandle, JoinSet, yield_now};
use ringwork::time::{Duration, Instant, sleep, timeout};
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

const STEPS: u64 = 30;
/// Children of children, and so on.
const DEPTH: u32 = 4;
const HOUR: Duration = Duration::from_secs(3600);

ringwork::task_local! {
    /// Of each task another one, which it must find wherever it is.
    static OWN: u64;
}

type Life = Pin<Box<dyn Future<Output = Token> + Send>>;

/// A task of this world. `may_move`: it is `Send` and not bound to a core.
pub(crate) fn life(world: &Arc<World>, random: Random, depth: u32, may_move: bool) -> Life {
    let (token, world) = (world.token(), Arc::clone(world));
    let own = random.mixed(1);
    Box::pin(OWN.scope(own, async move {
        let _token = token;
        let mut random = random;
        for _ in 0..random.below(STEPS) {
            if world.is_over() {
                break;
            }
            step();
            one_step(&world, &mut random, depth, may_move).await;
            assert_eq!(OWN.get(), own, "a value of the task is another one's");
        }
        world.token()
    }))
}

async fn one_step(world: &Arc<World>, random: &mut Random, depth: u32, may_move: bool) {
    match random.below(20) {
        0..3 => yield_now().await,
        3 => sleep(moment(random)).await,
        4 => drop(timeout(moment(random), sleep(moment(random))).await),
        5 => put_off(random).await,
        6 => compute(random.below(100)),
        // A core that does not come back for a while.
        7 if random.chance(30) => thread::sleep(Duration::from_millis(random.below(30))),
        8 | 9 if may_move => {
            let core = random.below(world.handle.cores() as u64) as usize;
            let came = move_to(core).await;
            assert!(!came || ringwork::core::current() == Some(core));
        }
        10..13 if depth < DEPTH && world.has_room() => {
            let task = child(world, random, depth);
            joined_or_not(world, random, task).await;
        }
        13 if depth < DEPTH && world.has_room() => brood(world, random, depth).await,
        13 => world.pipes[random.below(3) as usize].send(world.token()),
        14 => drop(timeout(moment(random), world.pipes[random.below(3) as usize].receive()).await),
        15 => {
            let event = Event::default();
            // One that is crowded out is set, or nobody would.
            world.events.leave(event.clone(), random).iter().for_each(Event::set);
            event.wait().await;
        }
        16 => be_woken_by_others(world, random).await,
        17 | 18 => drop(talk(world, random).await),
        19 if random.chance(10) => std::panic::resume_unwind(Box::new("planned")),
        _ => drop(read(random).await),
    }
}

fn moment(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(4_000))
}

/// Uses the CPU for so many microseconds.
fn compute(micros: u64) {
    let until = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// A timer that is set far away and then near.
async fn put_off(random: &mut Random) {
    let mut nap = pin!(sleep(HOUR));
    let _ = timeout(Duration::ZERO, nap.as_mut()).await;
    nap.as_mut().reset(Instant::now() + moment(random));
    nap.await;
}

/// A new task of any kind.
pub(crate) fn child(world: &Arc<World>, random: &mut Random, depth: u32) -> JoinHandle<Token> {
    let (depth, theirs) = (depth + 1, random.fork());
    let core = random.below(world.handle.cores() as u64) as usize;
    let here = ringwork::core::current().is_some();
    match random.below(10) {
        0 | 1 if here => {
            let life = life(world, theirs, depth, false);
            ringwork::spawn_local(async move {
                let bound = Rc::new(());
                let token = life.await;
                drop(bound);
                token
            })
        }
        2 => {
            let world = Arc::clone(world);
            let token = world.token();
            world.handle.clone().spawn_on(core, move || {
                drop(token);
                life(&world, theirs, depth, false)
            })
        }
        3 => world.handle.spawn_blocking(job(world, theirs)),
        4 => {
            let _entered = world.handle.enter();
            ringwork::spawn_heavy(job(world, theirs))
        }
        5 => {
            let (token, world) = (world.token(), Arc::clone(world));
            world.handle.clone().call(core, move || {
                compute(theirs.mixed(1) % 50);
                token
            })
        }
        6 => {
            let builder = task::Builder::new().name("background").background();
            builder.spawn_with(&world.handle, life(world, theirs, depth, true))
        }
        _ => world.handle.spawn(life(world, theirs, depth, true)),
    }
}

/// Children that are joined together, all or some of them.
async fn brood(world: &Arc<World>, random: &mut Random, depth: u32) {
    let mut set = JoinSet::new();
    for _ in 0..random.below(6) {
        set.insert(child(world, random, depth));
    }
    match random.below(4) {
        0 => set.abort_all(),
        1 => set.detach_all(),
        2 => drop(set.join_next().await),
        _ => {}
    }
    while !random.chance(8) && set.join_next().await.is_some() {}
}

/// A job of the blocking pool; some wait for a task that waits for nobody.
fn job(world: &Arc<World>, mut random: Random) -> impl FnOnce() -> Token + Send + 'static {
    let (token, world) = (world.token(), Arc::clone(world));
    move || {
        step();
        match random.below(4) {
            0 => thread::sleep(Duration::from_millis(random.below(5))),
            1 => {
                let inner = world.token();
                let nap = moment(&mut random);
                let task = world.handle.spawn(async move {
                    let _inner = inner;
                    sleep(nap).await;
                });
                let _ = world.handle.block_on(task);
            }
            _ => compute(random.below(200)),
        }
        token
    }
}

/// All that can become of a handle.
async fn joined_or_not(world: &Arc<World>, random: &mut Random, mut task: JoinHandle<Token>) {
    match random.below(7) {
        0 => drop(task),
        1 => {
            task.abort();
            let _ = task.await;
        }
        2 => {
            let abort = task.abort_handle();
            drop(world.tasks.leave(task, random));
            yield_now().await;
            abort.abort();
        }
        3 => {
            // Polled here once, and then by somebody else.
            if poll_once(&mut task).await.is_pending() {
                drop(world.tasks.leave(task, random));
            }
        }
        4 => drop(timeout(moment(random), task).await),
        _ => match task.await {
            Ok(_token) => {}
            Err(error) => assert!(error.is_cancelled() || error.is_panic()),
        },
    }
}

/// Leaves its waker for others and waits until one of them uses it, or for a moment.
async fn be_woken_by_others(world: &World, random: &mut Random) {
    let mut polls = 0;
    let mut theirs = random.fork();
    let woken = poll_fn(|cx| {
        polls += 1;
        drop(world.wakers.leave(cx.waker().clone(), &mut theirs));
        if polls > 2 { Poll::Ready(()) } else { Poll::Pending }
    });
    let _ = timeout(moment(random), woken).await;
}

/// Talks to the echo service and checks what it says; drops the connection at any point.
pub(crate) async fn talk(world: &World, random: &mut Random) -> std::io::Result<()> {
    let stream = match random.below(8) {
        0 => match timeout(moment(random) / 20, TcpStream::connect(world.echo)).await {
            Ok(connected) => connected?,
            Err(_) => return Ok(()),
        },
        _ => TcpStream::connect(world.echo).await?,
    };
    let mut at = 0;
    for _ in 0..random.below(4) {
        let size = 1 + random.below(3_000) as usize;
        match random.below(6) {
            0 => {
                // Given up in the middle; the message leaves whole all the same.
                let _ = timeout(Duration::ZERO, stream.send_all(pattern(at, size))).await;
                return Ok(());
            }
            1 => stream.send_all(pattern(at, size)).timeout(Duration::from_secs(60)).await.0?,
            _ => stream.send_all(pattern(at, size)).await.0?,
        }
        let mut heard = 0;
        while heard < size {
            // What such a receive brings is not looked at: the talk ends with it.
            if random.chance(10) && timeout(Duration::ZERO, stream.recv_pooled()).await.is_ok() {
                return Ok(());
            }
            let buf = stream.recv_pooled().await?;
            if buf.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            assert_pattern(at + heard, &buf);
            heard += buf.len();
        }
        at += size;
    }
    Ok(())
}

/// Reads a file that is there, or begins to.
async fn read(random: &mut Random) -> std::io::Result<()> {
    let file = ringwork::fs::File::open("Cargo.toml").await?;
    file.cached_reads(random.below(2) == 0);
    match random.below(3) {
        0 => drop(timeout(Duration::ZERO, file.read_at(Vec::with_capacity(4096), 0)).await),
        1 => drop(file.read_at(Vec::with_capacity(100), random.below(500)).await.0?),
        _ => {}
    }
    Ok(())
}

/// Spawns bursts of tasks on one core, more than its queue holds, so that others have something to steal.
pub(crate) async fn breed(world: Arc<World>, mut random: Random) -> Token {
    let token = world.token();
    while !world.is_over() {
        for _ in 0..random.below(400) {
            if !world.has_room() {
                break;
            }
            let task = child(&world, &mut random, 0);
            if random.chance(3) {
                drop(world.tasks.leave(task, &mut random));
            }
        }
        step();
        sleep(5 * moment(&mut random)).await;
    }
    token
}

/// Serves those who [`talk`], until it is aborted.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let token = world.token();
        drop(ringwork::spawn(async move {
            let _token = token;
            while let Ok(buf) = stream.recv_pooled().await {
                step();
                if buf.is_empty() || stream.send_all(buf).await.0.is_err() {
                    break;
                }
            }
        }));
    }
    pending::<()>().await;
}
