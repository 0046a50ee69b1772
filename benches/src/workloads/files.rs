//! Static files over HTTP: the same file over and over from the page cache. The answer that each server gives
//! first is what all its answers are compared with, byte for byte but for its header fields; its body is
//! compared with the file.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Work, Workload, echo, program};
use crate::bench::Bench;
use crate::child::PATIENCE;
use crate::load::Traffic;
use crate::load::dialog::Dialog;
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
        let dialog = Arc::new(learn(server.address()?, self.name, &body)?);
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

/// Asks once for the file, to know what every answer looks like.
fn learn(server: SocketAddr, name: &str, body: &[u8]) -> io::Result<Dialog> {
    let request = format!("GET /{name} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request)?;
    let (mut reply, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    let head = loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other("it closed the connection instead of an answer")),
            n => reply.extend_from_slice(&piece[..n]),
        }
        let end = reply.windows(4).take(4096).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = end + 4;
            if reply.len() >= head + body.len() {
                break head;
            }
        }
    };
    let status = &reply[..reply.iter().position(|byte| *byte == b'\r').unwrap_or(0)];
    if !status.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(format!("it answers {}", String::from_utf8_lossy(status))));
    }
    if reply[head..] != *body {
        return Err(io::Error::other("the body is not the file"));
    }
    let free = (status.len(), head);
    Ok(Dialog::Fixed { request, reply, free })
}
