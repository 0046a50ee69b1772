//! Static files over HTTP: the same file over and over from the page cache. The answer that each server gives
//! first is what all its answers are compared with, byte for byte but for its header fields; its body is
//! compared with the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shared::Place;
use super::{Work, Workload, echo, learn, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::plan::Plan;
use crate::report::columns::Layout;
use crate::sample::Sample;

/// Name, length and connections.
const FILES: [(&str, usize, usize); 3] = [("1k", 1 << 10, 64), ("64k", 64 << 10, 64), ("10m", 10 << 20, 8)];

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

    fn layout(&self) -> Layout {
        self.place.layout()
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let root = folder(&bench.settings.file);
        let body = prepare(&root, self.name, self.length)?;
        let plan = Plan::default()
            .with("root", root.display())
            .with("name", self.name)
            .with("cache", u8::from(self.cache));
        let mut server = self.place.start(bench, program(self, peer)?, plan)?;
        let dialog = Arc::new(learn::answer(server.address()?, &format!("/{}", self.name), &body)?);
        let (connections, times) = (self.connections, bench.settings.times);
        let traffic = Traffic { dialog, connections, depth: 1, rate: None, times };
        self.place.measure(bench, &mut server, &traffic, None)
    }

    fn counts(&self) -> bool {
        self.place.counts()
    }
}

/// The folder that is served: beside the file of the disk workloads.
fn folder(data: &Path) -> PathBuf {
    data.with_extension("files")
}

/// Makes sure that the file is there. Its bytes.
fn prepare(root: &Path, name: &str, length: usize) -> io::Result<Vec<u8>> {
    let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect();
    let path = root.join(name);
    if fs::read(&path).ok().as_ref() != Some(&body) {
        fs::create_dir_all(root)?;
        fs::write(&path, &body)?;
    }
    Ok(body)
}
