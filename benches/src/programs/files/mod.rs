//! Servers of one static file over HTTP: raw floors, an epoll loop and ringwork's own calls, without a web
//! server around them. Whole servers are in `foreign/`. A request is taken for whole when it ends with an
//! empty line, as the load generator sends it: one request under way per connection.

pub(crate) mod epoll;
pub(crate) mod floor;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use crate::plan::Plan;

/// Bodies up to this are read and sent in one piece with their header; longer ones go by `sendfile(2)`.
const SMALL: u64 = 32 << 10;

/// What is served, and how.
#[derive(Clone, Debug)]
struct Files {
    root: PathBuf,
    name: String,
    /// The file stays open; else it is opened and asked for its length for each request. Each floor does one
    /// of the two.
    cache: bool,
}

impl Files {
    fn of(plan: &Plan) -> io::Result<Files> {
        Ok(Files { root: plan.need("root")?, name: plan.need("name")?, cache: plan.is_set("cache")? })
    }

    fn folder(&self) -> io::Result<Folder> {
        Ok(Folder(File::open(&self.root)?.into()))
    }
}

/// The folder that is served.
struct Folder(OwnedFd);

/// A file that is being served.
struct Served {
    file: File,
    length: u64,
}

impl Folder {
    /// Opens a file in it and asks for its length.
    fn open(&self, name: &str) -> io::Result<Served> {
        let file = File::from(openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
        let length = fstat(&file)?.st_size as u64;
        Ok(Served { file, length })
    }
}

/// The name of the file that a request asks for.
fn name_in(request: &[u8]) -> io::Result<&str> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(request).map_err(io::Error::other)?;
    Ok(parsed.path.and_then(|path| path.strip_prefix('/')).unwrap_or_default())
}

/// Sends of a file what there is room for; nothing of what was asked for is an error.
fn send_file_now(fd: i32, file: &File, from: u64, length: u64) -> io::Result<u64> {
    let mut offset = from as libc::off_t;
    // SAFETY: both descriptors are open for the time of the call, which writes `offset` and nothing else.
    let sent = unsafe { libc::sendfile(fd, file.as_raw_fd(), &raw mut offset, length as usize) };
    match sent {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => u64::try_from(sent).map_err(|_| io::Error::last_os_error()),
    }
}

/// Writes the header of an answer with a body of that length.
fn write_header(answer: &mut Vec<u8>, length: u64) {
    let written = write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\
         accept-ranges: bytes\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    );
    written.expect("memory takes what is written");
}

/// Whether these bytes end a request.
fn ends_request(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}
