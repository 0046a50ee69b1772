//! Servers of one static file over HTTP: raw floors and ringwork's own calls, without a web server around
//! them. Whole servers are in `foreign/`. A request is taken for whole when it ends with an empty line, as
//! the load generator sends it: one request under way per connection.

pub(crate) mod floor;
#[cfg(feature = "ringwork")]
pub(crate) mod ringwork;

use std::io::{self, Write as _};
use std::path::PathBuf;

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
    #[cfg(feature = "ringwork")]
    cache: bool,
}

impl Files {
    fn of(plan: &Plan) -> io::Result<Files> {
        Ok(Files {
            root: plan.need("root")?,
            name: plan.need("name")?,
            #[cfg(feature = "ringwork")]
            cache: plan.is_set("cache")?,
        })
    }

    fn path(&self) -> PathBuf {
        self.root.join(&self.name)
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
