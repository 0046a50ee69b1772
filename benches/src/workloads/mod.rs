//! The workloads, a file for each kind. A kind says what a turn of it is, which programs take part and what
//! its tables show; a new one is a file here and a line in [`all`]. Nothing else in the harness knows them.

mod connections;
mod disk;
mod echo;
mod even;
mod files;
mod hot;
mod http;
mod idle;
mod kv;
mod learn;
mod open;
mod proxy;
mod sched;
mod shared;
mod stream;
mod stuck;
mod tls;
mod walk;

use std::io;

use crate::bench::Bench;
use crate::cpus;
use crate::programs::{PEERS, Program};
use crate::report::columns::Layout;
use crate::sample::Sample;

use shared::Place;

/// Files that a server or the harness opens besides its connections.
const SPARE: usize = 100;

/// One line of `list`, one set of tables of `compare`.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Under which heading of a page it stands.
    pub(crate) group: &'static str,
    pub(crate) work: Box<dyn Work>,
}

/// One kind of workload with its numbers.
pub(crate) trait Work {
    /// What its programs are called behind the name of their peer: `echo` of `tokio_echo`.
    fn role(&self) -> &'static str;

    /// The roles of programs that take part besides, but not wherever their like does.
    fn special_roles(&self) -> &'static [&'static str] {
        &[]
    }

    /// What its tables show.
    fn layout(&self) -> Layout;

    /// Where the server runs, if that may be both CPUs.
    fn place(&self) -> Option<Place> {
        None
    }

    /// The program by which `peer` takes part, if it does: on both CPUs also one that differs only there.
    fn program(&self, peer: &str) -> Option<&'static Program> {
        let there = self.place().map_or("", |place| place.words().0);
        let there = format!("{}{there}", self.role());
        let roles = self.special_roles().iter().copied().chain([&*there, self.role()]);
        roles.into_iter().find_map(|role| Program::of(peer, role))
    }

    /// How many connections the harness or a server has open at a time, both ends of a proxy counted.
    fn connections(&self, _bench: &Bench) -> usize {
        0
    }

    /// Why this cannot be measured on this machine, or with that peer, if so: no failure, but a line in the
    /// report.
    fn impossible(&self, bench: &Bench, _peer: &str) -> Option<String> {
        too_many(self.connections(bench), cpus::file_limit())
    }

    /// Finds out, before the first round, what the turns of all `peers` need to know.
    fn prepare(&self, _bench: &mut Bench, _peers: &[&str]) -> io::Result<()> {
        Ok(())
    }

    /// One measurement of one peer in a process of its own.
    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample>;

    /// Whether a turn apart follows, in which allocations are counted.
    fn counts(&self) -> bool {
        false
    }
}

/// All workloads, in the order in which they run, under their headings.
pub(crate) fn all() -> Vec<Workload> {
    let kinds = [
        ("TCP echo", echo::workloads()),
        ("TCP echo in open loop", open::workloads()),
        ("TCP connections", connections::workloads()),
        ("TCP streams", stream::workloads()),
        ("TCP proxies", proxy::workloads()),
        ("Reads and writes of files", disk::workloads()),
        ("Static files over HTTP", files::workloads()),
        ("Trees of files", walk::workloads()),
        ("HTTP", http::workloads()),
        ("TLS", tls::workloads()),
        ("Key-value servers", kv::workloads()),
        ("Operations of a scheduler", sched::workloads()),
        ("A hot core", hot::workloads()),
        ("Even load", even::workloads()),
        ("A stuck core", stuck::workloads()),
        ("Nothing to do", idle::workloads()),
    ];
    let under = |(group, workloads): (_, Vec<_>)| {
        workloads.into_iter().map(move |workload| Workload { group, ..workload })
    };
    kinds.into_iter().flat_map(under).collect()
}

impl Workload {
    fn new(name: impl Into<String>, title: impl Into<String>, work: impl Work + 'static) -> Workload {
        Workload { name: name.into(), title: title.into(), group: "", work: Box::new(work) }
    }

    /// The peers that this build has a program for, the floor first.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &'static str> {
        PEERS.iter().map(|(peer, _)| *peer).filter(|peer| self.work.program(peer).is_some())
    }
}

/// Why that many connections cannot be had, if so, where a process may open `limit` files.
fn too_many(connections: usize, limit: u64) -> Option<String> {
    let needed = connections + SPARE;
    let is_much = connections > 0 && limit < needed as u64;
    is_much.then(|| format!("{needed} open files are needed, {limit} are allowed"))
}

/// The program by which `peer` takes part in `work`.
fn program(work: &dyn Work, peer: &str) -> io::Result<&'static Program> {
    work.program(peer).ok_or_else(|| io::Error::other(format!("{peer} takes no part")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Workload, all, too_many};

    fn named(name: &str) -> Workload {
        all().into_iter().find(|workload| workload.name == name).expect("there is one")
    }

    #[test]
    fn more_connections_than_files_are_left_out_with_a_line() {
        let why = too_many(4096, 1024).expect("too many");
        assert!(why.contains("4196") && why.contains("1024"), "{why}");
        assert_eq!((too_many(512, 1024), too_many(0, 20)), (None, None));
    }

    fn takes_part(peer: &str, name: &str) -> bool {
        named(name).peers().any(|known| known == peer)
    }

    #[test]
    fn who_differs_with_several_cores_only_takes_part_on_both_cpus_only() {
        let is_near = |name| takes_part("tokio-near", name);
        let on_both = ["echo-64x64-all", "proxy-64x64-all", "connect-all"];
        assert!(on_both.into_iter().chain(["hyper-hello-all", "axum-json-all"]).all(is_near));
        let on_one = ["echo-64x64", "proxy-64x64", "proxy-bulk-x1", "connect", "open-10"];
        assert!(!on_one.into_iter().chain(["hyper-hello", "axum-json"]).any(is_near));
        for near in ["monoio-near", "compio-near", "smol-near"] {
            assert!(on_both.into_iter().all(|name| takes_part(near, name)));
            assert!(!on_one.into_iter().any(|name| takes_part(near, name)));
        }
        #[cfg(feature = "ringwork")]
        {
            let is_hashed = |name| takes_part("ringwork-hashed", name);
            assert!(on_both.into_iter().all(is_hashed) && !on_one.into_iter().any(is_hashed));
            assert!(takes_part("ringwork", "echo-64x64-all"));
        }
    }

    #[test]
    fn who_takes_part_in_a_part_of_the_workloads_of_a_role_only_does_so_there_only() {
        for (peer, there, elsewhere) in [
            ("floor-splice", ["proxy-bulk-x1", "proxy-bulk-x16"], ["proxy-64x64", "proxy-64x64-all"]),
            ("compio-managed", ["echo-64x64", "idle-10k"], ["echo-64x64-all", "connect"]),
            ("tokio-shared", ["echo-64x64", "idle-10k"], ["echo-64x512", "idle-cpu"]),
            ("pwrite", ["write-4096x1", "log-x64"], ["write-4096x32", "read-4096x1"]),
        ] {
            assert!(there.into_iter().all(|name| takes_part(peer, name)), "{peer}");
            assert!(!elsewhere.into_iter().any(|name| takes_part(peer, name)), "{peer}");
        }
    }

    #[test]
    fn every_workload_has_a_name_of_its_own_and_somebody_who_takes_part() {
        let workloads = all();
        let names: BTreeSet<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names.len(), workloads.len());
        for workload in &workloads {
            assert!(workload.peers().next().is_some(), "{}", workload.name);
        }
    }
}
