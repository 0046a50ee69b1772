//! A file over HTTP with ringwork's own calls and nothing around them: `recv_pooled`, `read_at` behind the
//! header for short bodies, `send_file` for long ones. What a web server adds is the difference to
//! `examples/file_server`.

use std::future::pending;
use std::io;
use std::rc::Rc;

use ringwork::Serve;
use ringwork::buf::{IoBufMut, SpareBuf};
use ringwork::fs::File;
use ringwork::net::TcpStream;
use ringwork::runtime::Builder;

use super::{Files, SMALL, ends_request, write_header};
use crate::plan::Plan;
use crate::programs::questions::announce_counting;
use crate::programs::send::ringwork::counters;

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let runtime = Builder::new().cores(plan.cores()?).build().map_err(io::Error::other)?;
    let (handle, address, files) = (runtime.handle().clone(), plan.listen()?, Files::of(plan)?);
    runtime.block_on(async move {
        let handler = move || {
            let files = Rc::new(files.clone());
            move |stream, _| {
                let files = files.clone();
                // An error is the client's: it has gone.
                async move { drop(serve(stream, &files).await) }
            }
        };
        let server = Serve::new(address).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}

async fn open(files: &Files) -> io::Result<(File, u64)> {
    let file = File::open(files.root.join(&files.name)).await?;
    let length = file.metadata().await?.len();
    Ok((file, length))
}

async fn serve(stream: TcpStream, files: &Files) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kept = if files.cache { Some(open(files).await?) } else { None };
    loop {
        let request = stream.recv_pooled().await?;
        if request.is_empty() {
            return Ok(());
        }
        if !ends_request(&request) {
            continue;
        }
        drop(request);
        let (file, length) = match kept.take() {
            Some(open) => open,
            None => open(files).await?,
        };
        let mut answer = SpareBuf::new();
        answer.reserve(SMALL as usize + 512);
        write_header(&mut answer, length);
        if length <= SMALL {
            let start = answer.len();
            // A slice: a read that fills what it is given needs no second one to see where the file ends.
            let (read, room) = file.read_at(answer.slice_mut(start..start + length as usize), 0).await;
            if read? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer = room.into_inner();
        }
        if length > SMALL {
            stream.send_file_with_head(answer, &file, 0, length).await.0?;
        } else {
            stream.send_off(answer).await?;
        }
        if files.cache {
            kept = Some((file, length));
        }
    }
}
