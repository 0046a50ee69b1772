//! compio's echo with what its driver has besides: one accept and one receive per connection that go on until
//! they end (`incoming`, `read_multi`), into a pool of buffers that the connections share. A connection that
//! has nothing to say holds none.

use std::io;
use std::num::NonZeroU16;
use std::pin::pin;

use compio::io::{AsyncReadMulti, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder, spawn};
use futures_lite::StreamExt;

use super::{Job, PerCore, Seat};
use crate::programs::local::compio::driver;

/// Buffers at least and at most, and their bytes at most.
const BUFFERS: (usize, usize) = (64, 4096);
const POOL_MAX: usize = 64 << 20;

/// One runtime per core.
pub(crate) struct Managed;

impl PerCore for Managed {
    fn serve(seat: Seat, job: Job) -> io::Result<()> {
        let Job::Echo { buffer } = job else {
            return Err(io::Error::other("compio with a pool of buffers is an echo and nothing else"));
        };
        let runtime = runtime(seat.connections, buffer)?;
        let listener = seat.listen()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let mut incoming = pin!(listener.incoming());
            while let Some(stream) = incoming.next().await {
                spawn(echo(stream?)).detach();
            }
            Ok(())
        })
    }
}

/// A runtime whose pool has a buffer for a message of each connection, if those are not too many: a receive
/// that finds none ends and has to be begun again.
fn runtime(connections: usize, buffer: usize) -> io::Result<Runtime> {
    let (least, most) = BUFFERS;
    let buffers = connections.clamp(least, most.min(POOL_MAX / buffer)).next_power_of_two();
    let buffers = u16::try_from(buffers).ok().and_then(NonZeroU16::new).expect("neither none nor too many");
    let mut driver = driver();
    driver.buffer_pool_size(buffers).buffer_pool_buffer_len(buffer);
    RuntimeBuilder::new().with_proactor(driver).build()
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for what it is given twice")]
fn echo(stream: TcpStream) -> impl Future<Output = io::Result<()>> {
    async move {
        let (mut reader, mut writer) = (&stream, &stream);
        let mut messages = pin!(reader.read_multi(0));
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => writer.write_all(message).await.0?,
                // The pool is empty; the stream begins another receive.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
