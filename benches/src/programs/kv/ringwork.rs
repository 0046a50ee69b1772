//! ringwork: its own calls, with a local task per connection and `recv_pooled`, and the connection of a
//! program for tokio, brought to it as `src/bringing.md` says: a listener that hands its streams to tasks.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;

use ringwork::buf::SpareBuf;
use ringwork::net::{TcpListener, TcpStream};
use ringwork::{Serve, runtime::Builder};

use super::store::{Map, Unread};
use super::{Shared, serve};
use crate::plan::Plan;
use crate::programs::questions::announce_counting;
use crate::programs::send::ringwork::counters;

/// ringwork's own calls.
pub(crate) fn own(plan: &Plan) -> io::Result<()> {
    let runtime = Builder::new().cores(1).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        let handler = || {
            let map = Rc::default();
            move |stream, _| {
                let serving = converse(stream, Rc::clone(&map));
                // An error of a connection is the client's: it has gone.
                async move { drop(serving.await) }
            }
        };
        let server = Serve::new(address).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}

async fn converse(stream: TcpStream, map: Rc<RefCell<Map>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Unread::default();
    loop {
        let received = stream.recv_pooled().await?;
        if received.is_empty() {
            return Ok(());
        }
        let mut replies = SpareBuf::new();
        unread.take(&received, &mut map.borrow_mut(), &mut replies)?;
        // The pool gets its buffer back before the replies have left.
        drop(received);
        stream.send_off(replies).await?;
    }
}

/// The program for tokio.
pub(crate) fn ported(plan: &Plan) -> io::Result<()> {
    let runtime = Builder::new().cores(1).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    let serving = runtime.spawn(async move {
        let (listener, store) = (TcpListener::bind(address).await?, Shared::default());
        announce_counting(listener.local_addr()?, move || Some(counters(&handle)))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            ringwork::spawn(serve(stream, store.clone()));
        }
    });
    runtime.block_on(serving).map_err(io::Error::other)?
}
