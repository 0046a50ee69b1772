//! Tests of `listing.rs`: real folders for reading, plain entries for order and HTML.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn entry(name: &[u8], kind: Kind, len: u64) -> Entry {
    let modified = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
    Entry { name: name.to_vec(), kind, len, modified }
}

fn place(path: &str) -> SitePath {
    SitePath::decode(path).expect("a good path")
}

/// A folder of its own for one test, removed at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("file_server-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn folders_come_first_and_numbers_count() {
    let names: [(&[u8], Kind); 9] = [
        (b"file10.txt", Kind::File),
        (b"zoo", Kind::Folder),
        (b"File2.txt", Kind::File),
        (b"a", Kind::Link),
        (b"file2.txt", Kind::File),
        (b"Apple", Kind::Folder),
        (b"file002b", Kind::File),
        (b"file", Kind::Other),
        (b"file99999999999999999999999", Kind::File),
    ];
    let mut entries: Vec<Entry> = names.iter().map(|&(name, kind)| entry(name, kind, 1)).collect();
    entries.sort_by(Entry::order);
    let sorted: Vec<&str> =
        entries.iter().map(|entry| std::str::from_utf8(&entry.name).expect("ASCII")).collect();
    assert_eq!(
        sorted,
        [
            "Apple",
            "zoo",
            "a",
            "file",
            "File2.txt",
            "file2.txt",
            "file002b",
            "file10.txt",
            "file99999999999999999999999"
        ]
    );
}

#[test]
fn the_order_is_total_so_that_sorting_cannot_panic() {
    let names: [&[u8]; 10] = [b"", b"0", b"00", b"1", b"01", b"a", b"A", b"a1", b"a01", b"\xff"];
    let entries: Vec<Entry> = names.iter().map(|name| entry(name, Kind::File, 0)).collect();
    for a in &entries {
        for b in &entries {
            assert_eq!(a.order(b), b.order(a).reverse());
            assert_eq!(a.order(b) == Ordering::Equal, a.name == b.name);
            for c in &entries {
                assert!(!(a.order(b).is_lt() && b.order(c).is_lt()) || a.order(c).is_lt());
            }
        }
    }
}

#[test]
fn sizes_read_well() {
    for (bytes, text) in [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10_188, "9.9 KiB"),
        (10_240, "10 KiB"),
        (1_023_488, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (734_003_200, "700 MiB"),
        (10 << 30, "10 GiB"),
        (u64::MAX, "16 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn files_with_holes_may_claim_more_than_a_number_holds() {
    let most = i64::MAX as u64;
    let entries = [b"a", b"b", b"c"].map(|name| entry(name, Kind::File, most));
    assert!(render(&place("/"), &entries, true).contains("3 files, 16 EiB"));
}

#[test]
fn names_are_escaped_where_shown_and_encoded_where_linked() {
    let nasty = entry(b"<a href=\"x\">&'\n\xff", Kind::File, 1);
    let html = render(&place("/"), &[nasty], true);
    assert!(html.contains("href=\"%3Ca%20href%3D%22x%22%3E%26%27%0A%FF\""), "{html}");
    assert!(html.contains("<bdi>&lt;a href=&quot;x&quot;&gt;&amp;&#39;\u{fffd}\u{fffd}</bdi>"), "{html}");
    assert!(!html.contains("<a href=\"x\""));
}

#[test]
fn a_name_that_looks_like_a_url_stays_in_the_folder() {
    let html = render(&place("/"), &[entry(b"javascript:alert(1)", Kind::File, 1)], true);
    assert!(html.contains("href=\"javascript%3Aalert%281%29\""), "{html}");
}

#[test]
fn the_path_is_a_row_of_links() {
    let html = render(&place("/a%20b/%3Cc%3E/"), &[], true);
    let nav = html.split("<nav").nth(1).expect("a breadcrumb");
    assert!(nav.contains("<a href=\"/\"><bdi>root</bdi></a>"), "{nav}");
    assert!(nav.contains("<a href=\"/a%20b/\"><bdi>a b</bdi></a>"), "{nav}");
    assert!(nav.contains("<b><bdi>&lt;c&gt;</bdi></b>"), "{nav}");
    assert!(html.contains("<title>&lt;c&gt;</title>"));
    assert!(html.contains("href=\"../\""), "a folder below the root links to its parent");
    assert!(!render(&place("/"), &[], true).contains("href=\"../\""));
}

#[test]
fn rows_show_kind_size_and_time() {
    let entries = [
        entry(b"sub", Kind::Folder, 4096),
        entry(b"data", Kind::File, 2048),
        entry(b"elsewhere", Kind::Link, 9),
        entry(b"pipe", Kind::Other, 0),
    ];
    let html = render(&place("/x/"), &entries, true);
    assert!(html.contains("href=\"sub/\""));
    assert!(html.contains("<td class=\"size\">2.0 KiB</td><td class=\"time\">06 Nov 1994 08:49</td>"));
    assert!(html.contains("href=\"elsewhere\"") && html.contains(">link<"));
    assert!(!html.contains("href=\"pipe\"") && html.contains(">special<"));
    assert!(html.contains("<footer>1 folder, 3 files, 2.0 KiB</footer>"));
    assert!(!html.contains("<script"));
}

#[test]
fn the_footer_says_when_there_is_nothing_or_more() {
    assert!(render(&place("/"), &[], true).contains("This folder is empty."));
    let html = render(&place("/"), &[entry(b"a", Kind::File, 1)], false);
    assert!(html.contains("There is more here: only 1 entries are shown."));
}

#[test]
fn a_real_folder_is_read_without_following_links() {
    let scratch = Scratch::new("read");
    std::fs::create_dir(scratch.0.join("sub")).expect("a folder");
    std::fs::write(scratch.0.join("f"), b"12345").expect("a file");
    std::os::unix::fs::symlink("/", scratch.0.join("out")).expect("a link");
    std::fs::write(scratch.0.join(std::ffi::OsStr::from_bytes(b"\xff")), b"").expect("a file");
    let socket = std::os::unix::net::UnixListener::bind(scratch.0.join("s")).expect("a socket");
    let (mut entries, complete) = read(&scratch.0, 100).expect("readable");
    entries.sort_by(Entry::order);
    let found: Vec<(&[u8], Kind)> = entries.iter().map(|entry| (&entry.name[..], entry.kind)).collect();
    assert_eq!(
        found,
        [
            (&b"sub"[..], Kind::Folder),
            (b"f", Kind::File),
            (b"out", Kind::Link),
            (b"s", Kind::Other),
            (b"\xff", Kind::File)
        ]
    );
    assert!(complete);
    assert_eq!(entries[1].len, 5);
    drop(socket);
}

#[test]
fn no_more_entries_are_held_than_allowed() {
    let scratch = Scratch::new("many");
    for number in 0..5 {
        std::fs::write(scratch.0.join(format!("{number}")), b"").expect("a file");
    }
    let most = |most| {
        let (entries, complete) = read(&scratch.0, most).expect("readable");
        (entries.len(), complete)
    };
    assert_eq!(most(4), (4, false));
    assert_eq!(most(5), (5, true));
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error() {
    let missing = page(Path::new("/proc/self/no-such-folder"), &place("/"));
    assert_eq!(missing.expect_err("missing").kind(), io::ErrorKind::NotFound);
}
