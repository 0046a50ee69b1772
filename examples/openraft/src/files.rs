//! Records that tell whether they are whole, and files that are replaced as a whole.
//!
//! A record is its length (4 bytes), its CRC-32 (4 bytes), both little-endian, and JSON. What a crash has
//! left half written does not open. It does not protect from a device that loses or changes what it has
//! acknowledged.
#![forbid(unsafe_code)]

use ringwork::fs::File;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

const HEAD: usize = 8;

/// Appends `value` as a record.
///
/// # Errors
/// What cannot be JSON, and what is longer than its length can say.
pub(crate) fn seal(value: &impl Serialize, into: &mut Vec<u8>) -> io::Result<()> {
    let begin = into.len();
    into.extend_from_slice(&[0; HEAD]);
    serde_json::to_writer(&mut *into, value)?;
    let body = &into[begin + HEAD..];
    let len = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let sum = crc32fast::hash(body);
    into[begin..begin + 4].copy_from_slice(&len.to_le_bytes());
    into[begin + 4..begin + HEAD].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// The record that `bytes` begin with, and how long it is; `None` if it is not whole.
pub(crate) fn open<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, usize)> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (len, sum) = (usize::try_from(number(0)?).ok()?, number(4)?);
    let end = HEAD.checked_add(len)?;
    let body = bytes.get(HEAD..end)?;
    // A hole in a file reads as zeros, and the sum of nothing is zero.
    let whole = len > 0 && crc32fast::hash(body) == sum;
    whole.then(|| serde_json::from_slice(body).ok())?.map(|value| (value, end))
}

/// Puts a file with these bytes in the place of `name`: after a crash there is the old one or this one, and
/// when this returns, this one. Gives it opened for reading and writing.
///
/// # Errors
/// The kernel's; the old file is still there then, unless syncing the directory has failed.
pub(crate) async fn replace(dir: &Path, name: &str, bytes: Vec<u8>) -> io::Result<File> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let options = File::options().read(true).write(true).create(true).truncate(true);
    let file = options.open(&fresh).await?;
    file.write_all_at(bytes, 0).await.0?;
    file.sync_all().await?;
    ringwork::fs::rename(fresh, path).await?;
    sync_dir(dir).await?;
    Ok(file)
}

/// Waits until the directory's names are on the device.
pub(crate) async fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_if_it_is_whole_and_as_it_was_sealed() {
        let mut bytes = Vec::new();
        seal(&"first", &mut bytes).unwrap();
        let first = bytes.len();
        seal(&"second", &mut bytes).unwrap();
        assert_eq!(open::<String>(&bytes), Some(("first".to_owned(), first)));
        assert_eq!(open::<String>(&bytes[first..]), Some(("second".to_owned(), bytes.len() - first)));
        for cut in 0..first {
            assert_eq!(open::<String>(&bytes[..cut]), None, "{cut} of {first} bytes");
        }
        for at in 0..first {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(open::<String>(&changed), None, "byte {at}");
        }
        assert_eq!(open::<String>(&[0; 64]), None);
    }

    #[ringwork::test]
    async fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["a long first one", "short"] {
            let file = replace(dir.path(), "file", text.into()).await.unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), text.len() as u64);
            assert_eq!(std::fs::read_to_string(dir.path().join("file")).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
