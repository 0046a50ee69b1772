//! Static files over HTTP: the same file over and over from the page cache. The answer that each server gives
//! first is what all its answers are compared with, byte for byte but for its header fields; its body is
//! compared with the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Work, Workload, echo, learn, program};
use crate::bench::Bench;
use crate::load::Traffic;
use crate::plan::Plan;
use crate::report::columns::{Layout, SERVING};
use crate::sample::Sample;

/// Name, length and connections.
const FILES: [(&str, usize, usize); 3] = [("1k", 1 << 10, 64), ("64k", 64 << 10, 64), ("10m", 10 << 20, 8)];

struct StaticFile {
    name: &'static str,
    length: usize,
    connections: usize,
    cache: bool,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |(name, length, connections), cache| {
        let (end, with) = if cache { ("", "kept open") } else { ("-nocache", "opened for each request") };
        let title = format!("static file of {} over {connections} connections, {with}", echo::bytes(length));
        Workload::new(format!("file-{name}{end}"), title, StaticFile { name, length, connections, cache })
    };
    FILES.into_iter().flat_map(|file| [true, false].map(|cache| one(file, cache))).collect()
}

impl Work for StaticFile {
    fn role(&self) -> &'static str {
        if self.cache { "files" } else { "files-nocache" }
    }

    fn layout(&self) -> Layout {
        SERVING
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let root = folder(&bench.settings.file);
        let body = prepare(&root, self.name, self.length)?;
        let plan = Plan::default()
            .with("root", root.display())
            .with("name", self.name)
            .with("cache", u8::from(self.cache));
        let cpu = bench.cpus.server;
        let mut server = bench.start(program(self, peer)?, &[cpu], plan)?;
        let dialog = Arc::new(learn::answer(server.address()?, &format!("/{}", self.name), &body)?);
        let (connections, times) = (self.connections, bench.settings.times);
        let traffic = Traffic { dialog, connections, depth: 1, rate: None, times };
        bench.generator()?.run(&traffic, &mut server, None)
    }

    fn counts(&self) -> bool {
        true
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
