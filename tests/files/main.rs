//! Files through the ring: contents, options, errors, confinement, and nothing leaked on the way.

#[path = "../kit/mod.rs"]
mod kit;

mod confinement;
mod content;
mod errors;
mod leaks;
mod room;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own for one test, removed with all in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringwork-files-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with these bytes.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).expect("the folder takes files");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes of which no two aligned words are alike.
fn pattern(len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).flat_map(|n| (n ^ 0x5bd1_e995_0000_0000).to_le_bytes());
    words.take(len).collect()
}
