//! The same over OpenSSL's command line, where it is installed: another implementation on the other side.
//! Where it is not, these tests say so and check nothing.
#![forbid(unsafe_code)]

use ringwork::net::{TcpListener, TcpStream};
use ringwork::tls::{Acceptor, Connector};
use ringwork_tls_tests::certs::{Authority, Identity};
use ringwork_tls_tests::{NAME, name, on_cores};
use rustls::{HandshakeKind, ProtocolVersion};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn openssl() -> Option<Command> {
    let version = Command::new("openssl").arg("version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with("OpenSSL 3") && !version.starts_with("OpenSSL 1.1.1") {
        println!("not tried, because there is no OpenSSL of a known version: {version}");
        return None;
    }
    Some(Command::new("openssl"))
}

/// A name for a file of this process; the file is removed with it.
struct File(PathBuf);

impl File {
    fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringwork-tls-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).expect("the folder takes files");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A program with what it says, which ends with the test.
struct Program {
    child: Child,
    output: BufReader<PipeReader>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        // What is said about errors, too: so it comments on its own doing.
        let (output, input) = std::io::pipe().expect("there are descriptors");
        command.stdin(Stdio::piped()).stdout(input.try_clone().expect("there are descriptors")).stderr(input);
        let child = command.spawn().expect("it was there a moment ago");
        Self { child, output: BufReader::new(output) }
    }

    fn say(&mut self, words: &str) {
        let stdin = self.child.stdin.as_mut().expect("it has an input");
        stdin.write_all(words.as_bytes()).and_then(|()| stdin.flush()).expect("it reads");
    }

    /// Reads lines of its output up to one that has this in it.
    fn hear(&mut self, what: &str) -> String {
        loop {
            let mut line = Vec::new();
            assert!(
                self.output.read_until(b'\n', &mut line).unwrap() > 0,
                "it ended and had not said {what:?}"
            );
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(what) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(address: SocketAddr, more: &[&str]) -> Option<Program> {
    let mut command = openssl()?;
    command.args(["s_client", "-connect", &address.to_string(), "-servername", NAME]).args(more);
    Some(Program::start(command))
}

#[test]
fn a_client_talks_changes_keys_and_ends() {
    on_cores(2, |handle| async move {
        let acceptor = Acceptor::new(Arc::new(Authority::new().server_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (flag, version) in [("-tls1_2", ProtocolVersion::TLSv1_2), ("-tls1_3", ProtocolVersion::TLSv1_3)]
        {
            let Some(mut client) = client(listener.local_addr().unwrap(), &[flag]) else { return };
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(stream.session().version, Some(version));
            let talk = handle.spawn_blocking(move || {
                client.say("hello\n");
                client.hear("olleh");
                if version == ProtocolVersion::TLSv1_3 {
                    // New keys, and a wish that we change ours.
                    client.say("K\n");
                    client.hear("KEYUPDATE");
                }
                client.say("again\n");
                client.hear("niaga");
                client.say("Q\n");
                client
            });
            loop {
                let (n, line) = stream.recv(Vec::with_capacity(100)).await;
                if n.unwrap() == 0 {
                    break;
                }
                let mut answer: Vec<u8> = line.trim_ascii_end().iter().rev().copied().collect();
                answer.push(b'\n');
                stream.send_all(answer).await.0.unwrap();
            }
            talk.await.unwrap();
        }
    });
}

#[test]
fn a_client_that_wants_to_renegotiate_is_refused() {
    on_cores(2, |handle| async move {
        let acceptor = Acceptor::new(Arc::new(Authority::new().server_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Some(mut client) = client(listener.local_addr().unwrap(), &["-tls1_2"]) else { return };
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let talk = handle.spawn_blocking(move || {
            client.say("R\n");
            client.hear("RENEGOTIATING");
            // It takes the refusal for an error and ends.
            client.output.read_to_end(&mut Vec::new()).unwrap();
            assert!(!client.child.wait().unwrap().success());
        });
        let ended = stream.recv_pooled().await;
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::ConnectionReset];
        assert!(ended.as_ref().is_err_and(|error| kinds.contains(&error.kind())), "{ended:?}");
        talk.await.unwrap();
    });
}

#[test]
fn a_client_resumes_its_session() {
    on_cores(2, |handle| async move {
        let acceptor = Acceptor::new(Arc::new(Authority::new().server_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = File::new(b"");
        let path = session.0.to_str().unwrap().to_owned();
        let mut kinds = Vec::new();
        for flag in ["-sess_out", "-sess_in"] {
            let Some(mut client) = client(listener.local_addr().unwrap(), &["-tls1_3", flag, &path]) else {
                return;
            };
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            kinds.push(stream.session().handshake_kind.unwrap());
            // Behind the tickets, so that they have been taken when this is heard.
            stream.send_all("welcome\n").await.0.unwrap();
            let talk = handle.spawn_blocking(move || {
                client.hear("welcome");
                client.say("Q\n");
                client.child.wait().unwrap();
            });
            while stream.recv_pooled().await.is_ok_and(|bytes| !bytes.is_empty()) {}
            talk.await.unwrap();
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    });
}

fn server(identity: &Identity, more: &[&str]) -> Option<(Program, SocketAddr, [File; 2])> {
    let files = [File::new(&identity.certificate), File::new(identity.key_bytes())];
    let mut command = openssl()?;
    command.args(["s_server", "-accept", "127.0.0.1:0", "-certform", "DER", "-keyform", "DER"]);
    command.arg("-cert").arg(&files[0].0).arg("-key").arg(&files[1].0).args(more);
    let mut server = Program::start(command);
    let line = server.hear("ACCEPT");
    let address = line.trim().trim_start_matches("ACCEPT").trim().parse().expect("it says where it listens");
    Some((server, address, files))
}

#[test]
fn a_server_answers_line_by_line() {
    on_cores(1, |_| async {
        let authority = Authority::new();
        for flag in ["-tls1_2", "-tls1_3"] {
            let Some((_server, address, _files)) = server(&authority.server(&[NAME]), &["-rev", flag]) else {
                return;
            };
            let connector = Connector::new(Arc::new(authority.client_config()));
            let stream = TcpStream::connect(address).await.unwrap();
            let stream = connector.connect(name(), stream).await.unwrap();
            for (line, answer) in [("hello\n", "olleh\n"), ("again\n", "niaga\n")] {
                stream.send_all(line).await.0.unwrap();
                let (received, heard) = stream.recv_exact(vec![0u8; answer.len()].into_boxed_slice()).await;
                received.unwrap();
                assert_eq!(&heard[..], answer.as_bytes());
            }
            stream.shutdown_write().await.unwrap();
        }
    });
}
