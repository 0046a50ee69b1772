//! `redis`, unchanged, in tasks of ringwork: against a small server of ours, and against a real one if there
//! is one on this machine.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client};
use ringwork::runtime::Runtime;
use ringwork_tokio_context_tests::{resp, runtime, soon};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const TASKS: usize = 16;
const ROUNDS: usize = 20;

/// One connection, shared by tasks on both cores that move in between.
fn keeps_values(runtime: &Runtime, client: &Client) {
    let connection = runtime.block_on(client.get_multiplexed_async_connection()).unwrap();
    let tasks: Vec<_> = (0..TASKS).map(|task| runtime.spawn(uses(connection.clone(), task))).collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    let mut connection = connection;
    let counted: usize = runtime.block_on(connection.get("ringwork:count")).unwrap();
    assert_eq!(counted, TASKS * ROUNDS);
    let unknown = redis::cmd("NO-SUCH");
    let refused = unknown.query_async::<()>(&mut connection);
    assert!(runtime.block_on(refused).unwrap_err().code().is_some());
}

async fn uses(mut connection: MultiplexedConnection, task: usize) {
    let key = format!("ringwork:{task}");
    for round in 0..ROUNDS {
        ringwork::core::move_to(round % 2).await;
        let value = vec![b'v'; round * 1000];
        let () = connection.set(&key, &value).await.unwrap();
        assert!(connection.get::<_, Vec<u8>>(&key).await.unwrap() == value);
        let () = connection.incr("ringwork:count", 1).await.unwrap();
    }
    let () = connection.del(&key).await.unwrap();
    assert_eq!(connection.get::<_, Option<String>>(&key).await.unwrap(), None);
}

#[test]
fn a_connection_is_shared_by_tasks_on_all_cores() {
    soon(|| {
        let runtime = runtime(2);
        let server = runtime.block_on(resp::serve()).unwrap();
        let client = Client::open(format!("redis://{}", server.local_addr())).unwrap();
        keeps_values(&runtime, &client);
    });
}

/// A `redis-server` behind a socket in a folder of its own.
struct RealServer {
    process: Child,
    folder: PathBuf,
}

impl RealServer {
    /// `None` if there is none on this machine.
    fn start() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("ringwork-redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket", "socket"]).current_dir(&folder);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut server = Self { process: started.ok()?, folder };
        let lines = BufReader::new(server.process.stdout.take().unwrap()).lines();
        let ready = lines
            .map_while(Result::ok)
            .any(|line| line.to_lowercase().contains("ready to accept connections"));
        assert!(ready, "redis-server has ended before it was ready");
        Some(server)
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_real_server_is_used_if_there_is_one() {
    let Some(server) = RealServer::start() else {
        println!("there is no redis-server on this machine (apt-get install redis-server)");
        return;
    };
    let socket = server.folder.join("socket");
    soon(move || {
        let client = Client::open(format!("redis+unix://{}", socket.display())).unwrap();
        keeps_values(&runtime(2), &client);
    });
}
