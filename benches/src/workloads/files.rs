//! Static files over HTTP: the same file over and over from the page cache, where it lies as it does after it
//! has been written. The answer that each server gives first is what all its answers are compared with, byte
//! for byte but for its header fields; its body is compared with the file.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::shared::Place;
use super::{Work, Workload, echo, learn, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::meter::Times;
use crate::plan::Plan;
use crate::report::columns::Layout;
use crate::sample::Sample;

/// Name, length and connections.
const FILES: [(&str, usize, usize); 3] = [("1k", 1 << 10, 64), ("64k", 64 << 10, 64), ("10m", 10 << 20, 8)];

/// Files up to this length have no warm-up of their own.
const SHORT: usize = 1 << 10;
/// The least warm-up with longer ones. For the first half second of its connections, nginx with `sendfile on`
/// holds back many of them for 40 ms (one answer of a thousand takes 47 ms), serves the others from warm
/// caches and needs 9.9 µs for 64 KiB; after 0.8 s it holds back none (2 ms) and needs 14 to 16 µs.
const WARM_UP: Duration = Duration::from_millis(800);

struct StaticFile {
    name: &'static str,
    length: usize,
    connections: usize,
    cache: bool,
    place: Place,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |(name, length, connections), cache, place: Place| {
        let (end, with) = if cache { ("", "kept open") } else { ("-nocache", "opened for each request") };
        let (all, beside) = place.words();
        let size = echo::bytes(length);
        let title = format!("static file of {size} over {connections} connections, {with}{beside}");
        let work = StaticFile { name, length, connections, cache, place };
        Workload::new(format!("file-{name}{end}{all}"), title, work)
    };
    let on_one =
        FILES.into_iter().flat_map(|file| [true, false].map(|cache| one(file, cache, Place::OneCpu)));
    // Not the long one: the generators would have most of both CPUs.
    let on_both = FILES[..2].iter().map(|file| one(*file, true, Place::BothCpus));
    on_one.chain(on_both).collect()
}

impl Work for StaticFile {
    fn role(&self) -> &'static str {
        if self.cache { "files" } else { "files-nocache" }
    }

    fn place(&self) -> Option<Place> {
        Some(self.place)
    }

    fn layout(&self) -> Layout {
        self.place.layout()
    }

    /// Writes the file anew, so that it lies in the page cache in the same way in every run: in large folios,
    /// as it was written. One that was evicted and read again lies in small ones, and then each server needs
    /// 20 % more for 64 KiB.
    fn prepare(&self, bench: &mut Bench, _peers: &[&str]) -> io::Result<()> {
        write(&folder(&bench.settings.file), self.name, &content(self.length))
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let (root, body) = (folder(&bench.settings.file), content(self.length));
        check(&root.join(self.name), &body)?;
        let plan = Plan::default()
            .with("root", root.display())
            .with("name", self.name)
            .with("cache", u8::from(self.cache));
        let mut server = self.place.start(bench, program(self, peer)?, plan)?;
        let dialog = Arc::new(learn::answer(server.address()?, &format!("/{}", self.name), &body)?);
        let (connections, times) = (self.connections, self.times(bench));
        let traffic = Traffic { dialog, connections, depth: 1, rate: None, times };
        self.place.measure(bench, &mut server, &traffic, None)
    }

    fn counts(&self) -> bool {
        self.place.counts()
    }
}

impl StaticFile {
    fn times(&self, bench: &Bench) -> Times {
        let times = bench.settings.times;
        if self.length > SHORT { times.settled(WARM_UP) } else { times }
    }
}

/// The folder that is served: beside the file of the disk workloads.
fn folder(data: &Path) -> PathBuf {
    data.with_extension("files")
}

/// The bytes of a file of that length.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

/// Writes a file, whether or not it is there.
fn write(root: &Path, name: &str, body: &[u8]) -> io::Result<()> {
    fs::create_dir_all(root)?;
    // Under another name until it is whole: another harness may be measuring with the file that is there.
    let unfinished = root.join(format!("{name}.{}", std::process::id()));
    let mut file = File::create(&unfinished)?;
    file.write_all(body)?;
    // Dirty pages would be written back while we measure.
    file.sync_all()?;
    fs::rename(unfinished, root.join(name))
}

/// Fails unless the file is still what was written. To read it keeps it in the page cache.
fn check(path: &Path, body: &[u8]) -> io::Result<()> {
    let wrong = |why: &dyn Display| io::Error::other(format!("{}: {why}", path.display()));
    let found = fs::read(path).map_err(|error| wrong(&error))?;
    if found == body { Ok(()) } else { Err(wrong(&"not what was written before the first turn")) }
}

#[cfg(test)]
mod tests {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_written_anew_even_if_it_is_there_and_fails_by_name_once_it_has_changed() {
        let root = std::env::temp_dir().join(format!("ringwork-bench-files-{}", std::process::id()));
        let (path, body) = (root.join("1k"), content(1 << 10));
        write(&root, "1k", &body).expect("the folder is ours");
        let first = File::open(&path).expect("it was written");
        write(&root, "1k", &body).expect("the folder is ours");
        check(&path, &body).expect("it was just written");
        let inode = |of: io::Result<Metadata>| of.expect("it is there").ino();
        assert_ne!(inode(fs::metadata(&path)), inode(first.metadata()));
        assert_eq!(fs::read_dir(&root).expect("it was made").count(), 1);
        fs::write(&path, &body[1..]).expect("it is ours");
        let changed = check(&path, &body).unwrap_err().to_string();
        fs::remove_dir_all(&root).expect("it was ours");
        let gone = check(&path, &body).unwrap_err().to_string();
        let name = path.display().to_string();
        assert!(changed.contains(&name) && gone.contains(&name), "{changed}; {gone}");
    }
}
