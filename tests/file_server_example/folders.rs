//! Folders: their address, their index page, their listing; and names with unusual characters.

use crate::http::{Client, get, once};
use crate::site::Site;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names a careless server trips over.
const NAMES: [&[u8]; 10] = [
    b"a b&c.txt",
    b"\"quoted\" <b>bold.txt",
    b"100%.txt",
    b"%41.txt",
    b"#a?b=c;d.txt",
    b"a+b.txt",
    b"back\\slash",
    "\u{e9}t\u{e9} \u{65e5}\u{672c}".as_bytes(),
    b"line\nbreak",
    b"no \xff utf-8",
];

#[test]
fn a_folder_without_its_slash_is_301_to_the_address_with_it() {
    let site = Site::new();
    site.folder("sub/with space");
    let server = site.serve(&[]);
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/sub?q=1&r", "/sub/?q=1&r"),
        ("/sub?q=\u{e9}&r=%C3%A9%2f+", "/sub/?q=%C3%A9&r=%C3%A9%2f+"),
        ("/sub/with%20space", "/sub/with%20space/"),
        // Two slashes at the start of a location would name another host.
        ("//sub", "/sub/"),
        ("/sub//with%20space", "/sub/with%20space/"),
    ] {
        let answer = get(&server, target);
        assert_eq!((answer.status, answer.the("Location")), (301, location), "{target}");
        assert_eq!(get(&server, location).status, 200, "{location}");
    }
}

#[test]
fn an_index_page_stands_for_its_folder() {
    let site = Site::new();
    site.write("index.html", "<p>top\n");
    site.write("sub/index.html", "<p>below\n");
    let server = site.serve(&[]);
    for (target, page) in [("/", "<p>top\n"), ("/sub/", "<p>below\n"), ("//sub//", "<p>below\n")] {
        let answer = get(&server, target);
        assert_eq!((answer.status, answer.text()), (200, page), "{target}");
        assert_eq!(answer.the("Content-Type"), "text/html; charset=utf-8", "{target}");
    }
}

#[test]
fn a_folder_that_is_called_like_an_index_page_is_none() {
    let site = Site::new();
    site.write("index.html/file", "");
    let server = site.serve(&[]);
    let answer = get(&server, "/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("href=\"index.html/\""), "{}", answer.text());
}

#[test]
fn every_link_of_a_listing_leads_to_its_file() {
    let site = Site::new();
    site.folder("list/folder");
    for name in NAMES {
        site.write(OsStr::from_bytes(&[b"list/", name].concat()), name);
    }
    let server = site.serve(&[]);
    let mut client = Client::connect(&server);
    let listing = client.get("/list/");
    let (rows, _) = listing.text().split_once("</tbody>").expect("a listing is a table");
    let (_, rows) = rows.split_once("<tbody>").expect("a listing is a table");
    let links = rows.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    // The icons have references too.
    let links: Vec<&str> = links.map(|(link, _)| link).filter(|link| !link.starts_with('#')).collect();
    let mut found = Vec::new();
    for link in links {
        let answer = client.get(&format!("/list/{link}"));
        assert_eq!(answer.status, 200, "{link}");
        match link {
            "../" | "folder/" => assert_eq!(answer.the("Content-Type"), "text/html; charset=utf-8"),
            _ => found.push(answer.body),
        }
    }
    found.sort();
    let mut expected = NAMES.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn no_name_breaks_out_of_the_listing() {
    let site = Site::new();
    for name in NAMES {
        site.write(OsStr::from_bytes(name), "");
    }
    site.write("<script>alert(1)<\u{2044}script>", "");
    let server = site.serve(&[]);
    let listing = get(&server, "/");
    assert_eq!(listing.the("Content-Type"), "text/html; charset=utf-8");
    assert!(listing.the("Content-Security-Policy").contains("default-src 'none'"));
    let html = listing.text();
    for shown in ["a b&amp;c.txt", "&quot;quoted&quot; &lt;b&gt;bold.txt", "&lt;script&gt;", "100%.txt"] {
        assert!(html.contains(shown), "{shown} is not in {html}");
    }
    for broken in ["<script", "<b>bold", "\"quoted\"", "line\nbreak"] {
        assert!(!html.contains(broken), "{broken} is in {html}");
    }
}

#[test]
fn a_listing_shows_what_is_no_file_without_a_link() {
    let site = Site::new();
    site.special("pipe", libc::S_IFIFO);
    let server = site.serve(&[]);
    let listing = get(&server, "/");
    assert!(listing.text().contains("pipe") && !listing.text().contains("href=\"pipe\""));
}

#[test]
fn a_listing_has_no_version_so_a_copy_of_it_is_never_good() {
    let site = Site::new();
    site.write("file", "");
    let server = site.serve(&[]);
    let listing = once(&server, "GET", "/", "If-None-Match: \"x\"\r\nRange: bytes=0-1\r\n");
    assert_eq!((listing.status, listing.field("ETag")), (200, None));
}

#[test]
fn escapes_in_a_path_are_decoded_once() {
    let site = Site::new();
    for name in ["hello.txt", "a b", "a+b", "%41", "sub/x"] {
        site.write(name, name);
    }
    let server = site.serve(&[]);
    for (target, name) in [
        ("/%68%65llo%2Etxt", "hello.txt"),
        ("/hello.txt?a=%zz", "hello.txt"),
        ("/a%20b", "a b"),
        ("/a+b", "a+b"),
        ("/%2541", "%41"),
        ("/sub/./x", "sub/x"),
        ("/sub/%2e%2E/sub/x", "sub/x"),
        ("/none/../hello.txt", "hello.txt"),
    ] {
        let answer = get(&server, target);
        assert_eq!((answer.status, answer.text()), (200, name), "{target}");
    }
    assert_eq!(get(&server, "/sub%2Fx").status, 404, "an encoded slash separates nothing");
}
