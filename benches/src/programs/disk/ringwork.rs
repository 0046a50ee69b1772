//! Files of ringwork.

use std::io;
use std::path::Path;

use ringwork::buf::AlignedBuf;
use ringwork::fs::File;

use super::{Disk, How, whole};
use crate::programs::local::ringwork::Ringwork;

impl Disk for Ringwork {
    type File = File;
    type Block = AlignedBuf;

    async fn open(path: &Path, how: How) -> io::Result<File> {
        let options = File::options().read(true).write(how == How::Direct);
        options.custom_flags(how.flags()).open(path).await
    }

    fn block(_file: &File, length: usize) -> AlignedBuf {
        let mut block = AlignedBuf::new(length, 4096);
        block.set_len(length);
        block
    }

    fn bytes(block: &AlignedBuf) -> &[u8] {
        block
    }

    fn bytes_mut(block: &mut AlignedBuf) -> &mut [u8] {
        block
    }

    async fn read(file: &File, mut block: AlignedBuf, offset: u64) -> io::Result<AlignedBuf> {
        let length = block.len();
        // Reads append.
        block.set_len(0);
        let (read, block) = file.read_at(block, offset).await;
        whole(read?, length)?;
        Ok(block)
    }

    async fn write(file: &File, block: AlignedBuf, offset: u64) -> io::Result<AlignedBuf> {
        let (written, block) = file.write_at(block, offset).await;
        whole(written?, block.len())?;
        Ok(block)
    }

    async fn commit(file: &File, block: AlignedBuf, offset: u64) -> io::Result<AlignedBuf> {
        let block = Self::write(file, block, offset).await?;
        file.sync_data().await?;
        Ok(block)
    }
}
