//! Parts of files: the forms of a range, what is refused and what is ignored, and that the bytes are right.

use crate::data::{self, Random};
use crate::http::{Client, once};
use crate::programs::Server;
use crate::site::Site;

fn hello() -> (Site, Server) {
    let site = Site::new();
    site.write("hello.txt", "hello world\n");
    let server = site.serve(&[]);
    (site, server)
}

#[test]
fn a_single_range_is_206_and_says_where_it_belongs() {
    let (_site, server) = hello();
    for (range, part, place) in [
        ("bytes=1-3", "ell", "bytes 1-3/12"),
        ("bytes=0-0", "h", "bytes 0-0/12"),
        ("bytes=6-", "world\n", "bytes 6-11/12"),
        ("bytes=6-99", "world\n", "bytes 6-11/12"),
        ("bytes=-6", "world\n", "bytes 6-11/12"),
        ("bytes=-99", "hello world\n", "bytes 0-11/12"),
        ("bytes=0-99999999999999999999999", "hello world\n", "bytes 0-11/12"),
    ] {
        let answer = once(&server, "GET", "/hello.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.text()), (206, part), "{range}");
        assert_eq!(answer.the("Content-Range"), place, "{range}");
    }
}

#[test]
fn a_range_beyond_the_end_is_416_and_told_the_length() {
    let (_site, server) = hello();
    for range in ["bytes=12-", "bytes=99-100", "bytes=-0", "bytes=99999999999999999999999-"] {
        let answer = once(&server, "GET", "/hello.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.the("Content-Range")), (416, "bytes */12"), "{range}");
    }
}

#[test]
fn a_range_that_makes_no_sense_here_is_ignored() {
    let (_site, server) = hello();
    for range in ["bytes=0-1,3-4", "bytes=3-1", "bytes=-", "bytes=a-b", "lines=1-2", "bytes 1-2", "1-2"] {
        let answer = once(&server, "GET", "/hello.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.text()), (200, "hello world\n"), "{range}");
        assert_eq!(answer.field("Content-Range"), None, "{range}");
    }
    let head = once(&server, "HEAD", "/hello.txt", "Range: bytes=1-3\r\n");
    assert_eq!((head.status, head.len()), (200, 12), "only GET has ranges");
}

#[test]
fn a_hundred_random_ranges_of_a_large_file_are_the_right_bytes() {
    const SIZE: usize = (20 << 20) + 17;
    let site = Site::new();
    site.write("large", data::file(SIZE));
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    let mut random = Random::new(2);
    for round in 0..100 {
        let len_max = random.choice(&[1, 1000, 16_384, 16_385, 300_000, 5_000_000]);
        let mut start = random.below(SIZE);
        let mut len = 1 + random.below(len_max.min(SIZE - start));
        let range = match round % 10 {
            0 => {
                (start, len) = (SIZE - len, len);
                format!("-{len}")
            }
            1 => {
                (start, len) = (SIZE - len, len);
                format!("{start}-")
            }
            _ => format!("{start}-{}", start + len - 1),
        };
        let answer = client.ask("GET", "/large", &format!("Range: bytes={range}\r\n"));
        let place = format!("bytes {start}-{}/{SIZE}", start + len - 1);
        assert_eq!((answer.status, answer.the("Content-Range")), (206, place.as_str()), "{range}");
        assert_eq!(answer.body.len(), len, "{range}");
        data::check(&answer.body, start);
    }
}
