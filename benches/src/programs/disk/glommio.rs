//! Files of glommio: a buffered file for what is in the page cache, a direct one else, whose writes take a
//! buffer of its allocator away, so that each needs another.

use std::io;
use std::path::Path;

use glommio::io::{BufferedFile, DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::{Disk, How, whole};
use crate::programs::local::glommio::Glommio;

pub(crate) enum Either {
    Buffered(BufferedFile),
    Direct(DmaFile),
}

pub(crate) enum Block {
    /// Of a buffered file: nothing is needed before a read.
    Empty(usize),
    Read(ReadResult),
    Dma(DmaBuffer),
}

impl Disk for Glommio {
    type File = Either;
    type Block = Block;

    async fn open(path: &Path, how: How) -> io::Result<Either> {
        match how {
            How::Cached => Ok(Either::Buffered(OpenOptions::new().read(true).buffered_open(path).await?)),
            How::Direct => {
                Ok(Either::Direct(OpenOptions::new().read(true).write(true).dma_open(path).await?))
            }
        }
    }

    fn block(file: &Either, length: usize) -> Block {
        match file {
            Either::Buffered(_) => Block::Empty(length),
            Either::Direct(file) => Block::Dma(file.alloc_dma_buffer(length)),
        }
    }

    fn bytes(block: &Block) -> &[u8] {
        match block {
            Block::Empty(_) => &[],
            Block::Read(read) => read,
            Block::Dma(buffer) => buffer.as_bytes(),
        }
    }

    fn bytes_mut(block: &mut Block) -> &mut [u8] {
        match block {
            Block::Dma(buffer) => buffer.as_bytes_mut(),
            Block::Empty(_) | Block::Read(_) => &mut [],
        }
    }

    async fn read(file: &Either, block: Block, offset: u64) -> io::Result<Block> {
        let length = match &block {
            Block::Empty(length) => *length,
            other => Self::bytes(other).len(),
        };
        drop(block);
        let read = match file {
            Either::Buffered(file) => file.read_at(offset, length).await?,
            Either::Direct(file) => file.read_at_aligned(offset, length).await?,
        };
        whole(read.len(), length)?;
        Ok(Block::Read(read))
    }

    async fn write(file: &Either, block: Block, offset: u64) -> io::Result<Block> {
        let (Either::Direct(file), Block::Dma(buffer)) = (file, block) else {
            return Err(io::Error::other("only a direct file is written"));
        };
        let length = buffer.len();
        whole(file.write_at(buffer, offset).await?, length)?;
        Ok(Block::Dma(file.alloc_dma_buffer(length)))
    }

    async fn commit(file: &Either, block: Block, offset: u64) -> io::Result<Block> {
        let block = Self::write(file, block, offset).await?;
        if let Either::Direct(file) = file {
            file.fdatasync().await?;
        }
        Ok(block)
    }
}
