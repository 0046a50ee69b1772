//! The chat server twice: the program as it is, on ringwork, and the same source on tokio. Clients find no
//! difference.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

#[path = "../src/bin/chat_tokio_io/chat.rs"]
mod chat;

/// What the program imports on tokio.
mod rt {
    pub(crate) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    pub(crate) use tokio::net::{TcpListener, TcpStream};
    pub(crate) use tokio::signal::unix::{SignalKind, signal};
    pub(crate) use tokio::spawn;
    pub(crate) use tokio::task::JoinSet;
    pub(crate) use tokio::time::{sleep, timeout};
}

#[tokio::main]
async fn on_tokio() -> std::io::Result<()> {
    chat::serve("127.0.0.1:0").await
}

#[test]
#[ignore = "is the program on tokio, which the other tests start in a process of its own"]
fn the_program_on_tokio() {
    on_tokio().unwrap();
}

/// Long enough for a slow machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines that are said before somebody looks whether they were heard: fewer than a client may be behind.
const BATCH: usize = 100;

/// A program that is killed with the test.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program was built");
        let lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
        let address = lines.map(Result::unwrap).find_map(|line| {
            // The harness has lines of its own in front.
            line.split_once("listening on ").map(|(_, address)| address.parse().unwrap())
        });
        Self { child, address: address.expect("it says where") }
    }

    fn on_ringwork() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat_tokio_io"));
        command.arg("127.0.0.1:0");
        Self::start(command)
    }

    fn on_tokio() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["the_program_on_tokio", "--exact", "--ignored", "--nocapture"]);
        Self::start(command)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_both(test: impl Fn(&mut Program)) {
    test(&mut Program::on_ringwork());
    test(&mut Program::on_tokio());
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects and is asked for a name.
    fn connect(to: &Program) -> Self {
        let stream = TcpStream::connect(to.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Self(BufReader::new(stream));
        assert_eq!(client.hear(), "* what is your name?");
        client
    }

    /// Is in the room when this returns.
    fn enter(to: &Program, name: &str, others: &mut [&mut Client]) -> Self {
        let mut client = Self::connect(to);
        client.say(name);
        assert_eq!(client.hear(), format!("* welcome, {}", name.trim()));
        for other in others {
            assert_eq!(other.hear(), format!("* {name} is here"));
        }
        client
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        assert!(line.ends_with('\n'), "the stream ended behind {line:?}");
        line.trim_end().to_owned()
    }

    /// The connection is at its end, in whatever way.
    fn hears_the_end(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(n) => assert_eq!(n, 0, "{:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn what_one_says_everybody_else_hears_in_order() {
    on_both(|program| {
        let mut ann = Client::enter(program, "ann", &mut []);
        let mut bob = Client::enter(program, " bob ", &mut []);
        assert_eq!(ann.hear(), "* bob is here");
        let mut eve = Client::enter(program, "eve", &mut [&mut ann, &mut bob]);
        for n in 0..BATCH {
            ann.say(&n.to_string());
        }
        for n in 0..BATCH {
            assert_eq!((bob.hear(), eve.hear()), (format!("ann: {n}"), format!("ann: {n}")));
        }
        // The next that Ann hears is not her own.
        bob.say("all there");
        assert_eq!((ann.hear(), eve.hear()), ("bob: all there".to_owned(), "bob: all there".to_owned()));
    });
}

#[test]
fn a_client_that_leaves_or_vanishes_is_missed_by_the_others() {
    on_both(|program| {
        let mut ann = Client::enter(program, "ann", &mut []);
        let bob = Client::enter(program, "bob", &mut [&mut ann]);
        drop(bob);
        assert_eq!(ann.hear(), "* bob has left");
        let eve = Client::enter(program, "eve", &mut [&mut ann]);
        // With bytes unread, a close is a reset.
        ann.say("to nobody's ears");
        eve.0.get_ref().peek(&mut [0]).unwrap();
        drop(eve);
        assert_eq!(ann.hear(), "* eve has left");
        // Nor does one that never said who it is do any harm.
        drop(Client::connect(program));
        let mut zoe = Client::enter(program, "zoe", &mut [&mut ann]);
        ann.say("hello");
        assert_eq!(zoe.hear(), "ann: hello");
    });
}

#[test]
fn a_line_that_is_too_long_ends_its_client_and_nobody_else() {
    on_both(|program| {
        let mut ann = Client::enter(program, "ann", &mut []);
        let mut bob = Client::enter(program, "bob", &mut [&mut ann]);
        bob.say(&"x".repeat(1025));
        assert_eq!(bob.hear(), "* max line length exceeded");
        assert_eq!(ann.hear(), "* bob has left");
        let mut eve = Client::enter(program, "eve", &mut [&mut ann]);
        eve.say(&"x".repeat(1024));
        assert_eq!(ann.hear(), format!("eve: {}", "x".repeat(1024)));
    });
}

#[test]
fn a_client_that_does_not_read_is_sent_away_and_holds_nobody_up() {
    on_both(|program| {
        let mut ann = Client::enter(program, "ann", &mut []);
        let mut slow = Client::enter(program, "slow", &mut [&mut ann]);
        let mut bob = Client::enter(program, "bob", &mut [&mut ann]);
        let line = "x".repeat(1000);
        // More than sockets, streams and the queue hold.
        'said: for _ in 0..1000 {
            for _ in 0..BATCH {
                ann.say(&line);
            }
            let mut left = BATCH;
            while left > 0 {
                match bob.hear() {
                    heard if heard == "* slow has left" => break 'said,
                    heard => assert_eq!(heard, format!("ann: {line}")),
                }
                left -= 1;
            }
        }
        assert_eq!(ann.hear(), "* slow has left");
        bob.say("good riddance");
        assert_eq!(ann.hear(), "bob: good riddance");
        // What was on its way may still come, and then the end.
        let mut rest = Vec::new();
        if let Err(error) = slow.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn at_a_signal_everybody_is_told_and_the_program_ends() {
    for signal in ["INT", "TERM"] {
        on_both(|program| {
            let mut ann = Client::enter(program, "ann", &mut []);
            let mut nameless = Client::connect(program);
            program.signal(signal);
            assert_eq!(ann.hear(), "* the server is going down");
            ann.hears_the_end();
            nameless.hears_the_end();
            assert!(program.wait().success());
            assert!(TcpStream::connect(program.address).is_err());
        });
    }
}

/// The program, if it ends by itself: its exit code and the one line that it says on stderr.
fn refusal(argument: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chat_tokio_io")).arg(argument).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("chat_tokio_io: ") && line.lines().count() == 1, "{line}");
    (output.status.code(), line)
}

#[test]
fn a_wrong_argument_is_one_line_and_exit_2() {
    let (code, line) = refusal("--bogus");
    assert_eq!(code, Some(2));
    assert!(line.contains("--bogus") && line.contains("--help"), "{line}");
}

#[test]
fn a_port_in_use_is_one_line_that_says_what_to_do_and_exit_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, line) = refusal(&address);
    assert_eq!(code, Some(1));
    let words = [&address, "Address already in use", "another program listens there", "port 0"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
}
