//! The echo server of two cores of ringwork: `serve_per_core`, connections as tasks that idle cores may steal
//! or not.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringwork::net::TcpStream;
use ringwork::runtime::{Builder, Handle, Pin, Steal, StuckReport, Watchdog};

use super::stuck::{DELAY, OnePoll};
use super::{NO_CORE, Server, announce};
use crate::plan::Plan;
use crate::programs::net::ringwork::echo_stream;
use crate::programs::send::WORKERS;
use crate::programs::send::ringwork::{Stealing, counters};
use crate::sample::Counters;

/// The default of `Builder::watchdog`.
const STUCK_AFTER: Duration = Duration::from_millis(100);

/// Echoes until killed, with stealing as is the default.
pub(crate) fn stealing(plan: &Plan) -> io::Result<()> {
    run(Builder::new(), Told::default(), plan)
}

/// The same without stealing.
pub(crate) fn never(plan: &Plan) -> io::Result<()> {
    run(Builder::new().steal(Steal::Never), Told::default(), plan)
}

/// As is the default, with an ear for the watchdog.
pub(crate) fn watched(plan: &Plan) -> io::Result<()> {
    let told = Told::default();
    let ear = told.clone();
    let hear = move |report: &StuckReport| {
        if report.core == 0 {
            ear.lock().expect("no panic").push(Instant::now());
        }
    };
    run(Builder::new().watchdog(Watchdog::Call(Arc::new(hear)), STUCK_AFTER), told, plan)
}

/// When the watchdog told of the first core.
type Told = Arc<Mutex<Vec<Instant>>>;

struct Serving {
    handle: Handle,
    told: Told,
}

impl Server for Serving {
    fn counters(&self) -> Option<Counters> {
        Some(counters(&self.handle))
    }

    fn start(&self, poll: OnePoll) {
        drop(self.handle.spawn_on(0, move || poll.run::<Stealing>(ringwork::time::sleep(DELAY))));
    }

    fn told_since(&self, begun: Instant) -> Option<Instant> {
        self.told.lock().expect("no panic").iter().copied().find(|told| *told >= begun)
    }
}

fn run(builder: Builder, told: Told, plan: &Plan) -> io::Result<()> {
    let runtime = builder.cores(WORKERS).pin(Pin::Each).build().map_err(io::Error::other)?;
    let handle = runtime.handle().clone();
    let address = plan.listen()?;
    runtime.block_on(async move {
        let server = ringwork::serve_per_core(address, |stream, _| async {
            // An error is the client's: it has gone.
            let _ = greet_and_echo(stream).await;
        })
        .await?;
        announce(server.local_addr(), Serving { handle, told })?;
        pending().await
    })
}

async fn greet_and_echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let core = ringwork::core::current().map_or(NO_CORE, |core| core as u8);
    stream.send_all(vec![core]).await.0?;
    echo_stream(stream).await;
    Ok(())
}
