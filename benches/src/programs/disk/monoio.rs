//! Files of monoio, on its io_uring driver.

use std::io;
use std::path::Path;

use monoio::fs::File;

use super::page::Page;
use super::{Disk, How, whole};
use crate::programs::local::monoio::Monoio;

impl Disk for Monoio {
    type File = File;
    type Block = Page;

    async fn open(path: &Path, how: How) -> io::Result<File> {
        File::from_std(how.open(path)?)
    }

    fn block(_file: &File, length: usize) -> Page {
        Page::new(length)
    }

    fn bytes(block: &Page) -> &[u8] {
        block
    }

    fn bytes_mut(block: &mut Page) -> &mut [u8] {
        block
    }

    async fn read(file: &File, block: Page, offset: u64) -> io::Result<Page> {
        let (read, block) = file.read_at(block, offset).await;
        whole(read?, block.len())?;
        Ok(block)
    }

    async fn write(file: &File, block: Page, offset: u64) -> io::Result<Page> {
        let (written, block) = file.write_at(block, offset).await;
        whole(written?, block.len())?;
        Ok(block)
    }

    async fn commit(file: &File, block: Page, offset: u64) -> io::Result<Page> {
        let block = Self::write(file, block, offset).await?;
        file.sync_data().await?;
        Ok(block)
    }
}
