//! A folder as a page: what is in it, in an order and a shape a person likes to read.
//!
//! Teaches: reading a folder is a job for the blocking pool (the ring has no operation for it), so
//! [`page`] does all of it in one call: read, sort, write HTML.
//! Promises: every name is escaped where it is shown and percent-encoded where it is linked, so a file's name
//! can neither end a tag nor leave the folder; the page needs no script and nothing from elsewhere; at most
//! [`ENTRIES_MAX`] entries are held, however many there are.
//! It follows no symbolic link: where one leads is the kernel's to judge when it is opened.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::SystemTime;

use crate::path::{SitePath, encode_segment};
use crate::response::http_time;

/// Most entries on one page. More than a person reads; about 3 MiB of HTML.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// Reads the folder at `folder` and writes the page for it. Blocks.
/// `place` is where the folder is in the site; `folder` is how it is reached here.
pub(crate) fn page(folder: &Path, place: &SitePath) -> io::Result<String> {
    let (mut entries, complete) = read(folder, ENTRIES_MAX)?;
    entries.sort_by(Entry::order);
    Ok(render(place, &entries, complete))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
    /// A pipe, socket or device: shown, but never served.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    kind: Kind,
    len: u64,
    modified: Option<SystemTime>,
}

impl Entry {
    /// Folders first, then by name as a person counts: `a2` before `a10`, in any case.
    fn order(&self, other: &Entry) -> Ordering {
        let rank = |entry: &Entry| entry.kind != Kind::Folder;
        (rank(self).cmp(&rank(other)))
            .then_with(|| natural_order(&self.name, &other.name))
            .then_with(|| self.name.cmp(&other.name))
    }
}

/// Up to `most` entries, and whether these are all.
fn read(folder: &Path, most: usize) -> io::Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    for found in std::fs::read_dir(folder)? {
        if entries.len() == most {
            return Ok((entries, false));
        }
        let found = found?;
        // The entry may be gone by now; then it is not part of the folder any more.
        let Ok(metadata) = found.metadata() else {
            continue;
        };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        let (len, modified) = (metadata.len(), metadata.modified().ok());
        entries.push(Entry { name: found.file_name().into_vec(), kind, len, modified });
    }
    Ok((entries, true))
}

/// Compares letters without case and runs of digits by their value.
fn natural_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    while let (Some(&first_a), Some(&first_b)) = (a.first(), b.first()) {
        let order = if first_a.is_ascii_digit() && first_b.is_ascii_digit() {
            let (number_a, rest_a) = split_number(a);
            let (number_b, rest_b) = split_number(b);
            (a, b) = (rest_a, rest_b);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            first_a.to_ascii_lowercase().cmp(&first_b.to_ascii_lowercase())
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The digits at the start, without leading zeros: the longer one is the larger number.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|&byte| byte != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

fn render(place: &SitePath, entries: &[Entry], complete: bool) -> String {
    let mut html = String::with_capacity(STYLE.len() + 1024 + entries.len() * 256);
    let title = place.segments().last().map_or_else(|| "/".to_owned(), |name| Escaped(name).to_string());
    html.extend(["<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"]);
    html.extend(["<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"]);
    html.extend([
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
        &title,
        "</title>\n<style>",
    ]);
    html.extend([STYLE, "</style>\n</head>\n<body>\n", ICONS, "<main>\n"]);
    breadcrumb(&mut html, place);
    html.push_str("<table>\n<thead><tr><th>Name</th><th class=\"size\">Size</th><th class=\"time\">");
    html.push_str("Modified (UTC)</th></tr></thead>\n<tbody>\n");
    if place.segments().next().is_some() {
        html.push_str("<tr><td><a href=\"../\"><svg><use href=\"#folder\"/></svg><span>..</span></a></td>");
        html.push_str("<td></td><td></td></tr>\n");
    }
    for entry in entries {
        row(&mut html, entry);
    }
    html.push_str("</tbody>\n</table>\n");
    summary(&mut html, entries, complete);
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

/// The way down to this folder, each step a link; the folder itself is where one is.
fn breadcrumb(html: &mut String, place: &SitePath) {
    let steps: Vec<&[u8]> = place.segments().collect();
    html.push_str("<nav aria-label=\"Path\">\n<h1>");
    let mut url = String::from("/");
    for (at, step) in std::iter::once(&b""[..]).chain(steps.iter().copied()).enumerate() {
        if at > 0 {
            url.extend(encode_segment(step));
            url.push('/');
            html.push_str("<i>/</i>");
        }
        let name = if at == 0 { &b"root"[..] } else { step };
        let _ = if at == steps.len() {
            write!(html, "<b><bdi>{}</bdi></b>", Escaped(name))
        } else {
            write!(html, "<a href=\"{url}\"><bdi>{}</bdi></a>", Escaped(name))
        };
    }
    html.push_str("</h1>\n</nav>\n");
}

fn row(html: &mut String, entry: &Entry) {
    let (icon, slash) = match entry.kind {
        Kind::Folder => ("folder", "/"),
        Kind::File | Kind::Other => ("file", ""),
        Kind::Link => ("link", ""),
    };
    html.push_str("<tr><td>");
    if entry.kind != Kind::Other {
        html.push_str("<a href=\"");
        html.extend(encode_segment(&entry.name));
        html.extend([slash, "\">"]);
    }
    let _ = write!(html, "<svg><use href=\"#{icon}\"/></svg>");
    let _ = write!(html, "<span><bdi>{}</bdi>{slash}</span>", Escaped(&entry.name));
    if entry.kind != Kind::Other {
        html.push_str("</a>");
    }
    html.push_str("</td><td class=\"size\">");
    match entry.kind {
        Kind::File => html.push_str(&size(entry.len)),
        Kind::Link => html.push_str("link"),
        Kind::Other => html.push_str("special"),
        Kind::Folder => {}
    }
    html.push_str("</td><td class=\"time\">");
    if let Some(modified) = entry.modified.and_then(http_time) {
        html.push_str(&time(modified));
    }
    html.push_str("</td></tr>\n");
}

/// How many of what there are, for those who do not count rows.
fn summary(html: &mut String, entries: &[Entry], complete: bool) {
    let folders = entries.iter().filter(|entry| entry.kind == Kind::Folder).count();
    let others = entries.len() - folders;
    let files = entries.iter().filter(|entry| entry.kind == Kind::File);
    // Files with holes may claim more than a number holds.
    let total = files.fold(0_u64, |total, entry| total.saturating_add(entry.len));
    html.push_str("<footer>");
    let _ = match (entries.len(), complete) {
        (0, _) => write!(html, "This folder is empty."),
        (shown, false) => write!(html, "There is more here: only {shown} entries are shown."),
        _ => {
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let folder_s = plural(folders);
            let other_s = plural(others);
            write!(html, "{folders} folder{folder_s}, {others} file{other_s}, {}", size(total))
        }
    };
    html.push_str("</footer>\n");
}

/// `as a person says it`: three digits at most, in units of 1024.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024: that is one of the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `06 Nov 1994 08:49`: the middle of an HTTP date.
fn time(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)[5..22].to_owned()
}

/// Bytes as text in HTML, between tags or quotes.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in String::from_utf8_lossy(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                control if control.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = include_str!("listing/style.css");
const ICONS: &str = include_str!("listing/icons.svg");

#[cfg(test)]
mod tests;
