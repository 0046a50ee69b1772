//! hyper and axum on ringwork: `Serve`, a local task per connection, streams that hyper takes as they are.

use std::future::{Future, pending};
use std::io;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use ringwork::compat::hyper::{LocalExecutor, Timer};
use ringwork::net::TcpStream;
use ringwork::{Serve, runtime::Builder};

use super::{hello, router};
use crate::plan::Plan;
use crate::programs::questions::announce_counting;
use crate::programs::send::ringwork::counters;

/// Hello over HTTP/1.1.
pub(crate) fn hyper(plan: &Plan) -> io::Result<()> {
    serve(plan, || {
        |stream| async move {
            // An error of a connection is the client's: it has gone.
            drop(http1::Builder::new().timer(Timer).serve_connection(stream, service_fn(hello)).await);
        }
    })
}

/// Hello over HTTP/2.
pub(crate) fn http2(plan: &Plan) -> io::Result<()> {
    serve(plan, || {
        |stream| async move {
            let mut http = http2::Builder::new(LocalExecutor);
            drop(http.timer(Timer).serve_connection(stream, service_fn(hello)).await);
        }
    })
}

/// The application, served by `compat::axum::serve`.
pub(crate) fn axum(plan: &Plan) -> io::Result<()> {
    let runtime = Builder::new().cores(plan.cores()?).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        let server = ringwork::compat::axum::serve(address, router()).start().await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}

fn serve<M, H, F>(plan: &Plan, make: M) -> io::Result<()>
where
    M: Fn() -> H + Clone + Send + 'static,
    H: Fn(TcpStream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime = Builder::new().cores(plan.cores()?).build().map_err(io::Error::other)?;
    let (handle, address) = (runtime.handle().clone(), plan.listen()?);
    runtime.block_on(async move {
        let handler = move || {
            let connection = make();
            move |stream: TcpStream, _| {
                // It fails on a connection that has gone, whose task will find out.
                let _ = stream.set_nodelay(true);
                connection(stream)
            }
        };
        let server = Serve::new(address).start_local(handler).await?;
        announce_counting(server.local_addr(), move || Some(counters(&handle)))?;
        pending().await
    })
}
