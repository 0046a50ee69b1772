//! tonic's own transport, each side on a tokio runtime of its own.
#![forbid(unsafe_code)]

use super::Service;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};

/// Drives a future on a tokio runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    vanish: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(service: Service) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (vanish, vanished) = oneshot::channel::<()>();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = tonic::transport::Server::builder().add_service(service.server());
            let stopped = async { drop(stopped.await) };
            let served = server.serve_with_incoming_shutdown(incoming, stopped);
            tokio::select! {
                served = served => served.unwrap(),
                Ok(()) = vanished => {}
            }
        };
        let thread = thread::spawn(|| block_on(serve));
        Self { address, stop, vanish, thread }
    }

    /// Finishes what it has.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().unwrap();
    }

    /// Drops everything, sockets included.
    pub(crate) fn vanish(self) {
        let _ = self.vanish.send(());
        self.thread.join().unwrap();
    }
}

pub(crate) fn channel(to: SocketAddr, window: Option<u32>) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
    endpoint.initial_stream_window_size(window).connect_lazy()
}
