//! What comes together with the word to stop, or is under way then.

use crate::kit::*;
use crate::support::LIMIT;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use ringwork::compat::tower::{IncomingStream, serve};
use ringwork::net::TcpStream;
use ringwork::time::sleep;
use std::convert::Infallible;
use std::future::ready;
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tower::service_fn;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// What a stream has received and hyper has not seen, and whether it may.
#[derive(Default)]
struct Hold {
    is_on: AtomicBool,
    received: Mutex<Vec<u8>>,
    reader: Mutex<Option<Waker>>,
}

impl Hold {
    fn end(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.wake();
        }
    }
}

/// A stream that receives at all times and is read when the test says so.
struct Held {
    stream: TcpStream,
    hold: Arc<Hold>,
}

impl Read for Held {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, hold } = self.get_mut();
        let mut received = hold.received.lock().unwrap();
        if received.is_empty() {
            let mut bytes = [0; 64];
            let mut part = ReadBuf::new(&mut bytes);
            ready!(Read::poll_read(Pin::new(stream), cx, part.unfilled()))?;
            received.extend_from_slice(part.filled());
        }
        if hold.is_on.load(Ordering::SeqCst) {
            *hold.reader.lock().unwrap() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let now = received.len().min(buf.remaining());
        buf.put_slice(&received.drain(..now).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl Write for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}

/// Runs on the one core: while it does not wait, nothing else runs there.
fn on_the_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    on_cores(1, |handle| async move { handle.spawn_on(0, test).await.unwrap() });
}

#[test]
fn a_request_that_comes_together_with_the_word_to_stop_is_answered_and_told_that_it_is_the_last() {
    on_the_core(|| async {
        let (talk, hold) = (Talk::new(), Arc::new(Hold::default()));
        let make = service_fn(move |incoming: IncomingStream<'_, Held>| {
            let (talk, peer) = (talk.clone(), incoming.remote_addr());
            ready(Ok::<_, Infallible>(service_fn(move |request| talk.clone().answer(peer, request))))
        });
        let held = Arc::clone(&hold);
        let serve = serve(anywhere(), make)
            .handshake(move |stream| ready(Ok(Held { stream, hold: Arc::clone(&held) })));
        let server = serve.start().await.unwrap();
        let mut client = connect(&server).await;
        assert!(ask(&mut client, "/").await.starts_with("HTTP/1.1 200 "));
        hold.is_on.store(true, Ordering::SeqCst);
        client.write_all(GET).await.unwrap();
        while hold.received.lock().unwrap().len() < GET.len() {
            sleep(Duration::from_millis(1)).await;
        }
        hold.end();
        let (stopped, last) = futures_lite::future::zip(server.stop(LIMIT), answer(&mut client)).await;
        assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        ends(&mut client).await;
        assert_eq!(stopped, 0);
    });
}

#[test]
fn the_first_request_of_a_connection_that_the_kernel_had_accepted_is_told_that_it_is_the_last() {
    on_the_core(|| async {
        let (server, _talk) = server().await;
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let mut client = std::net::TcpStream::connect(server.local_addr()).unwrap();
                client.write_all(GET).unwrap();
                client
            })
            .collect();
        assert_eq!(server.stop(LIMIT).await, 0);
        for mut client in clients {
            let mut last = String::new();
            client.read_to_string(&mut last).unwrap();
            assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        }
    });
}

#[test]
fn a_handshake_and_a_make_service_under_way_may_take_their_time() {
    on_paused_core(|| async {
        let (talk, begun, go) = (Talk::new(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let wait = move |begun: &Arc<AtomicUsize>, go: &Arc<Semaphore>| {
            begun.fetch_add(1, Ordering::SeqCst);
            let go = Arc::clone(go);
            async move { go.acquire().await.unwrap().forget() }
        };
        let (begins, goes) = (Arc::clone(&begun), Arc::clone(&go));
        let make = service_fn(move |incoming: IncomingStream<'_>| {
            let (talk, peer, waited) = (talk.clone(), incoming.remote_addr(), wait(&begins, &goes));
            async move {
                waited.await;
                Ok::<_, Infallible>(service_fn(move |request| talk.clone().answer(peer, request)))
            }
        });
        let (begins, goes) = (Arc::clone(&begun), Arc::clone(&go));
        let serve = serve(anywhere(), make).head_time(Duration::from_secs(60)).handshake(move |stream| {
            let waited = wait(&begins, &goes);
            async move {
                waited.await;
                Ok(stream)
            }
        });
        let server = serve.start().await.unwrap();
        let mut client = connect(&server).await;
        client.write_all(GET).await.unwrap();
        while begun.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let stopping = ringwork::spawn(server.stop(Duration::from_secs(3600)));
        for waits in 1..=2 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!((begun.load(Ordering::SeqCst), stopping.is_finished()), (waits, false));
            go.add_permits(1);
        }
        let last = answer(&mut client).await;
        assert!(last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"), "{last}");
        assert_eq!(stopping.await.unwrap(), 0);
    });
}

#[test]
fn a_handshake_that_does_not_end_is_cut_at_the_deadline_and_counted() {
    on_paused_core(|| async {
        let begun = Arc::new(AtomicUsize::new(0));
        let begins = Arc::clone(&begun);
        let serve = serve(anywhere(), make!(Talk::new())).head_time(Duration::from_secs(60)).handshake(
            move |stream| {
                begins.fetch_add(1, Ordering::SeqCst);
                async move {
                    std::future::pending::<()>().await;
                    Ok(stream)
                }
            },
        );
        let server = serve.start().await.unwrap();
        let mut client = connect(&server).await;
        while begun.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(server.stop(Duration::from_secs(5)).await, 1);
        ends(&mut client).await;
    });
}
