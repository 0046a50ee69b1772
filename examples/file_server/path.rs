//! From the path of a request to a path below the root.
//!
//! Teaches: percent-decoding segment by segment, and why the order matters: a target is split at `/` first
//! and decoded afterwards, so `%2F` can never become a separator.
//! Promises: the result is relative, holds no NUL, no empty, `.` or `..` segment.
//! It is not the wall: symbolic links and races are stopped by the kernel (`openat2`, `RESOLVE_BENEATH`).
//! What is refused here would only have been refused later, with less to say about why.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// A file or folder below the root, named by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SitePath {
    /// Segments joined by `/`; empty for the root itself.
    joined: Vec<u8>,
    /// The request ended in `/`: only a folder will do.
    pub(crate) folder: bool,
}

/// Why a path names nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// Not a path at all: a broken percent escape, a NUL, or more `..` than there are folders above. 400.
    Malformed,
    /// A proper path that no file can have, such as a name with an encoded slash in it. 404.
    Unnameable,
}

impl SitePath {
    /// Decodes the path of a target: the part before `?`, which starts with `/`.
    pub(crate) fn decode(path: &str) -> Result<SitePath, PathError> {
        let rest = path.strip_prefix('/').ok_or(PathError::Malformed)?;
        let mut joined = Vec::with_capacity(rest.len());
        let mut folder = true;
        for raw in rest.split('/') {
            let segment = decode_segment(raw)?;
            match &segment[..] {
                b"" | b"." => folder = true,
                b".." => {
                    pop(&mut joined)?;
                    folder = true;
                }
                name => {
                    if !joined.is_empty() {
                        joined.push(b'/');
                    }
                    joined.extend_from_slice(name);
                    folder = false;
                }
            }
        }
        Ok(SitePath { joined, folder })
    }

    /// What to open below the root; `.` for the root itself.
    pub(crate) fn relative(&self) -> &Path {
        match &self.joined[..] {
            b"" => Path::new("."),
            bytes => Path::new(OsStr::from_bytes(bytes)),
        }
    }

    /// The page that stands for this folder, if it is there.
    pub(crate) fn index(&self) -> SitePath {
        let mut joined = self.joined.clone();
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(b"index.html");
        SitePath { joined, folder: false }
    }

    /// The decoded names from the root down, none for the root itself.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.joined.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty())
    }

    /// The same path as a folder's URL: absolute, encoded, one slash at each end.
    /// It never starts with `//`, which a browser would take for another host.
    pub(crate) fn folder_url(&self) -> String {
        let mut url = String::from("/");
        for segment in self.segments() {
            url.extend(encode_segment(segment));
            url.push('/');
        }
        url
    }
}

/// Percent-encodes one name for a link; everything but the unreserved characters of RFC 3986.
pub(crate) fn encode_segment(name: &[u8]) -> impl Iterator<Item = &str> {
    percent_encode(name, RESERVED)
}

fn decode_segment(raw: &str) -> Result<std::borrow::Cow<'_, [u8]>, PathError> {
    if !escapes_are_whole(raw.as_bytes()) {
        return Err(PathError::Malformed);
    }
    let segment: std::borrow::Cow<'_, [u8]> = percent_decode_str(raw).into();
    if segment.contains(&0) {
        return Err(PathError::Malformed);
    }
    if segment.contains(&b'/') {
        return Err(PathError::Unnameable);
    }
    Ok(segment)
}

/// The decoder passes a broken escape through; here it is an error.
fn escapes_are_whole(raw: &[u8]) -> bool {
    raw.iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'%')
        .all(|(at, _)| raw.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Takes the last name away; at the root there is none, and the path climbs out.
fn pop(joined: &mut Vec<u8>) -> Result<(), PathError> {
    if joined.is_empty() {
        return Err(PathError::Malformed);
    }
    let end = joined.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    joined.truncate(end);
    Ok(())
}

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(path: &str) -> Vec<u8> {
        let decoded = SitePath::decode(path).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        decoded.relative().as_os_str().as_bytes().to_vec()
    }

    fn is_folder(path: &str) -> bool {
        SitePath::decode(path).expect("a good path").folder
    }

    #[test]
    fn a_plain_path_becomes_relative() {
        assert_eq!(relative("/"), b".");
        assert_eq!(relative("/a.txt"), b"a.txt");
        assert_eq!(relative("/a/b/c.txt"), b"a/b/c.txt");
        assert_eq!(relative("/a/b/"), b"a/b");
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(relative("/with%20space"), b"with space");
        assert_eq!(relative("/%C3%A9t%c3%a9"), "\u{e9}t\u{e9}".as_bytes());
        assert_eq!(relative("/%252e%252e"), b"%2e%2e");
        assert_eq!(relative("/%FF"), b"\xff");
        assert_eq!(relative("/a+b"), b"a+b");
        assert_eq!(relative("/a%3Fb%23c"), b"a?b#c");
        assert_eq!(relative("/a%5Cb"), b"a\\b");
    }

    #[test]
    fn dots_are_resolved_below_the_root() {
        assert_eq!(relative("/a/./b"), b"a/b");
        assert_eq!(relative("/a/../b"), b"b");
        assert_eq!(relative("/a/b/../../c"), b"c");
        assert_eq!(relative("/a/b/%2e%2E/c"), b"a/c");
        assert_eq!(relative("/a/.."), b".");
        assert_eq!(relative("/..."), b"...");
        assert_eq!(relative("/a..b/..c/d.."), b"a..b/..c/d..");
    }

    #[test]
    fn a_path_that_climbs_out_is_malformed() {
        for path in
            ["/..", "/../etc/passwd", "/a/../..", "/%2e%2e/etc", "/a/%2E./../../x", "//../x", "/./../x"]
        {
            assert_eq!(SitePath::decode(path), Err(PathError::Malformed), "{path}");
        }
    }

    #[test]
    fn broken_escapes_and_nul_are_malformed() {
        for path in ["/%", "/%4", "/a%zz", "/a%4/b", "/%%41", "/a%00b", "/a%0", "/%+1", "", "a", "*"] {
            assert_eq!(SitePath::decode(path), Err(PathError::Malformed), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_is_no_separator() {
        for path in ["/a%2Fb", "/%2fetc", "/..%2f..%2fetc/passwd"] {
            assert_eq!(SitePath::decode(path), Err(PathError::Unnameable), "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_or_dot_asks_for_a_folder() {
        for path in ["/", "/a/", "/a//", "/a/.", "/a/b/..", "/a/%2e"] {
            assert!(is_folder(path), "{path}");
        }
        for path in ["/a", "/a/b", "/a/../b", "/a."] {
            assert!(!is_folder(path), "{path}");
        }
    }

    #[test]
    fn empty_segments_are_dropped_so_that_no_redirect_names_a_host() {
        let path = SitePath::decode("//example.com/%2e/x").expect("a good path");
        assert_eq!(path.relative(), Path::new("example.com/x"));
        assert_eq!(path.folder_url(), "/example.com/x/");
    }

    #[test]
    fn the_index_page_is_beside_the_entries() {
        assert_eq!(SitePath::decode("/").expect("good").index().relative(), Path::new("index.html"));
        assert_eq!(SitePath::decode("/a/").expect("good").index().relative(), Path::new("a/index.html"));
    }

    #[test]
    fn a_folder_url_is_encoded_again() {
        let path = SitePath::decode("/a%20b/%22%3Cx%3E%0A%FF").expect("a good path");
        assert_eq!(path.folder_url(), "/a%20b/%22%3Cx%3E%0A%FF/");
        assert_eq!(SitePath::decode("/").expect("good").folder_url(), "/");
        assert_eq!(path.segments().count(), 2);
    }
}
