//! Unix streams and listeners as a user sees them: bytes and their order, halves, files, addresses,
//! credentials, and drops. Most of it runs the machinery of TCP streams, which tests/tcp_basic and
//! tests/tcp_drop try in more depth; here is what could differ on a socket of this kind. Random drops are in
//! tests/tcp_drop.

mod addresses;
mod drops;
mod listening;
#[path = "../support/mod.rs"]
mod support;
mod transfer;

use ringwork::runtime::Handle;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs a test on a core, and once more on a thread that is none.
fn everywhere<F>(cores: usize, test: impl Fn(Handle) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    support::on_cores(cores, test.clone());
    support::on_cores(cores, |handle| async move {
        let inside = handle.clone();
        handle.spawn_on(0, move || test(inside)).await.unwrap();
    });
}

/// A path that nobody else uses; what is there is removed when it goes.
struct OwnPath(PathBuf);

impl OwnPath {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ringwork-{}-{}.sock", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }
}

impl AsRef<std::path::Path> for OwnPath {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
