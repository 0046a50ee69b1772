//! Files of tokio: `spawn_blocking` around the system call, for `tokio::fs` has no positional calls and costs
//! more. A commit is one blocking call for both of its system calls.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::page::Page;
use super::{Disk, How};
use crate::programs::local::tokio::WithPool;

impl<const THREADS: usize> Disk for WithPool<THREADS> {
    type File = Arc<std::fs::File>;
    type Block = Page;

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        how.open(path).map(Arc::new)
    }

    fn block(_file: &Self::File, length: usize) -> Page {
        Page::new(length)
    }

    fn bytes(block: &Page) -> &[u8] {
        block
    }

    fn bytes_mut(block: &mut Page) -> &mut [u8] {
        block
    }

    async fn read(file: &Self::File, block: Page, offset: u64) -> io::Result<Page> {
        blocking(file, block, move |file, block| file.read_exact_at(block, offset)).await
    }

    async fn write(file: &Self::File, block: Page, offset: u64) -> io::Result<Page> {
        blocking(file, block, move |file, block| file.write_all_at(block, offset)).await
    }

    async fn commit(file: &Self::File, block: Page, offset: u64) -> io::Result<Page> {
        blocking(file, block, move |file, block| {
            file.write_all_at(block, offset)?;
            file.sync_data()
        })
        .await
    }
}

async fn blocking(
    file: &Arc<std::fs::File>,
    mut block: Page,
    call: impl FnOnce(&std::fs::File, &mut Page) -> io::Result<()> + Send + 'static,
) -> io::Result<Page> {
    let file = file.clone();
    let called = spawn_blocking(move || call(&file, &mut block).map(|()| block));
    called.await.map_err(io::Error::other)?
}
