//! The rate of connections: each is made, brings one message and is closed.

use std::io;
use std::sync::Arc;

use super::shared::{self, Place};
use super::{Work, Workload, echo, program};
use crate::bench::{Bench, CONNECTING};
use crate::load::connect::MESSAGE;
use crate::load::crew::Watch;
use crate::report::columns::Layout;
use crate::sample::Sample;

struct Connections {
    place: Place,
}

/// All of this kind.
pub(super) fn workloads() -> Vec<Workload> {
    let one = |place: Place| {
        let (end, beside) = place.words();
        let title = format!(
            "TCP connections made, one message of {MESSAGE} B echoed, closed; {CONNECTING} at a time{beside}"
        );
        Workload::new(format!("connect{end}"), title, Connections { place })
    };
    [Place::OneCpu, Place::BothCpus].map(one).into()
}

impl Work for Connections {
    fn role(&self) -> &'static str {
        "echo"
    }

    fn place(&self) -> Option<Place> {
        Some(self.place)
    }

    fn layout(&self) -> Layout {
        self.place.layout()
    }

    fn turn(&self, bench: &mut Bench, peer: &str) -> io::Result<Sample> {
        let plan = echo::plan(MESSAGE, CONNECTING);
        let mut server = self.place.start(bench, program(self, peer)?, plan)?;
        let times = bench.settings.times;
        if self.place == Place::OneCpu {
            return bench.connector()?.run(times, &mut server);
        }
        let (crew, watch) = (bench.crew()?, Arc::new(Watch::default()));
        crew.connect(server.address()?, CONNECTING, &watch)?;
        shared::finish(crew, &mut server, &watch, times)
    }

    fn counts(&self) -> bool {
        self.place.counts()
    }
}
