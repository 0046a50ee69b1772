//! monoio on its io_uring driver: owned buffers that travel with each op and come back.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::BUFFER;
use super::store::{Map, Unread};
use crate::plan::Plan;
use crate::programs::http::listener;
use crate::programs::net::on_a_thread;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let listener = listener(plan)?;
    on_a_thread(|| {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(1024).build()?;
        runtime.block_on(async {
            let (listener, map) = (TcpListener::from_std(listener)?, Rc::default());
            loop {
                let (stream, _) = listener.accept().await?;
                drop(monoio::spawn(serve(stream, Rc::clone(&map))));
            }
        })
    })
}

async fn serve(mut stream: TcpStream, map: Rc<RefCell<Map>>) -> io::Result<()> {
    let (mut unread, mut buffer, mut replies) = (Unread::default(), vec![0; BUFFER], Vec::new());
    loop {
        let (read, filled) = stream.read(buffer).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        unread.take(&filled[..n], &mut map.borrow_mut(), &mut replies)?;
        buffer = filled;
        if !replies.is_empty() {
            let (written, sent) = stream.write_all(replies).await;
            written?;
            replies = sent;
            replies.clear();
        }
    }
}
