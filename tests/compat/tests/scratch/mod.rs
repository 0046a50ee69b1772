//! A file of its own for each test of cursors.

use ringwork::compat::FileCursor;
use ringwork::fs::File;
use std::path::PathBuf;

/// A file of its own for each test, removed afterwards.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// None yet, with that in its name.
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("ringwork-cursor-{}-{name}", std::process::id())))
    }

    /// Empty, to read and write.
    pub(crate) async fn open(&self) -> FileCursor {
        let options = File::options().read(true).write(true).create(true).truncate(true);
        FileCursor::new(options.open(&self.0).await.unwrap(), 0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
