//! Files of compio, on its io_uring driver.

use std::io;
use std::path::Path;

use compio::BufResult;
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAt, AsyncWriteAt};

use super::page::Page;
use super::{Disk, How, whole};
use crate::programs::local::compio::Compio;

impl Disk for Compio {
    type File = File;
    type Block = Page;

    async fn open(path: &Path, how: How) -> io::Result<File> {
        OpenOptions::new().read(true).write(how == How::Direct).custom_flags(how.flags()).open(path).await
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
        let BufResult(read, block) = file.read_at(block, offset).await;
        whole(read?, block.len())?;
        Ok(block)
    }

    async fn write(file: &File, block: Page, offset: u64) -> io::Result<Page> {
        let mut file = file;
        let BufResult(written, block) = file.write_at(block, offset).await;
        whole(written?, block.len())?;
        Ok(block)
    }

    async fn commit(file: &File, block: Page, offset: u64) -> io::Result<Page> {
        let block = Self::write(file, block, offset).await?;
        file.sync_data().await?;
        Ok(block)
    }
}
