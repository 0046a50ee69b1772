//! Which readings the tables of a workload show, and which of them are set in relation to other peers. No
//! tables are drawn here.

use crate::bench::Apart;
use crate::sample::{P99_OF_A_TENTH, Sample};

/// Whose ratios to the others a page shows, and whose goals there are.
pub(crate) const OURS: &str = "ringwork";

/// Ends the name of a peer one of whose workers is blocked.
pub(crate) const BLOCKED: &str = "-stuck";

/// One number out of a sample; not a number if the sample has none.
pub(crate) type Reading = fn(&Sample) -> f64;

/// What a reading is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanos,
    Micros,
    Bytes,
    Times,
}

/// What a row pays in relation to a column: the words above the table, the reading and its unit. Less is
/// better in all of them.
pub(crate) type Cost = (&'static str, Reading, Unit);

/// Heading, reading, decimals.
pub(crate) type Column = (&'static str, Reading, usize);

/// What was counted in turns apart.
pub(crate) const APART: [(&str, fn(&Apart) -> Option<f64>, usize); 3] = [
    ("allocations/op", |apart| apart.allocations, 4),
    ("heap KiB", |apart| apart.heap_kib, 0),
    ("system calls/op (strace)", |apart| apart.syscalls, 2),
];

const OPS: Column = ("op/s", Sample::ops_per_s, 0);
const P50: Column = ("p50 µs", |s| micros(s.p50_ns), 1);
const P999: Column = ("p99.9 µs", |s| micros(s.p999_ns), 1);
const P99: Column = ("p99 µs", |s| micros(s.p99_ns), 1);
const TENTH: Column = ("p99 of a tenth µs", |s| s.special(P99_OF_A_TENTH) / 1e3, 1);
const SWITCHES: Column = ("switches/op", Sample::switches_per_op, 4);
const OTHERS: Column = ("others' CPU %", Sample::others_percent, 0);
const SOFTIRQ: Column = ("softirq CPU %", Sample::softirq_percent, 0);
const VOLUNTARY: Column = ("voluntary/op", |s| s.per_op(s.voluntary), 4);
const WAITS: Column = ("waits/op", |s| s.maybe_per_op(s.waits), 4);
const USER_US: Column = ("user", Sample::user_us_per_op, 2);
const SYS_US: Column = ("sys", Sample::sys_us_per_op, 2);
const RSS: Column = ("RSS MiB", |s| s.rss_kib as f64 / 1024.0, 1);
const SERVER: Column = ("server CPU %", Sample::server_percent, 0);
const LOAD: Column = ("load CPU %", |s| s.load_percent().unwrap_or(f64::NAN), 0);
const CPU_US: Column = ("CPU µs/op", Sample::cpu_us_per_op, 2);
const WALL_NS: Column = ("ns/op", Sample::wall_ns_per_op, 1);
const CPU_NS: Column = ("CPU ns/op", Sample::cpu_ns_per_op, 1);

/// Of servers and readers.
const SERVING_COLUMNS: &[Column] =
    &[CPU_US, USER_US, SYS_US, OPS, P50, P99, P999, SWITCHES, WAITS, RSS, SERVER, OTHERS, LOAD];

/// Of servers that share their CPUs with the load.
const SHARED_COLUMNS: &[Column] = &[
    CPU_US,
    USER_US,
    SYS_US,
    ("machine CPU µs/op", |s| MACHINE_PER_OP.1(s) / 1e3, 2),
    OPS,
    P50,
    P99,
    P999,
    SWITCHES,
    WAITS,
    RSS,
    SERVER,
    OTHERS,
    LOAD,
];

/// Of servers below saturation.
const OPEN_COLUMNS: &[Column] =
    &[CPU_US, USER_US, SYS_US, OPS, P50, TENTH, P99, P999, SWITCHES, WAITS, RSS, SERVER, OTHERS, LOAD];

/// Of servers that send and receive in bulk; one op is 64 KiB.
const STREAM_COLUMNS: &[Column] = &[
    ("CPU busy µs/op", |s| s.per_op(s.busy_ns) / 1e3, 2),
    CPU_US,
    USER_US,
    SYS_US,
    ("MiB/s", |s| s.ops_per_s() / 16.0, 0),
    ("MiB per busy CPU s", |s| s.ops as f64 * 1e9 / 16.0 / s.busy_ns as f64, 0),
    SWITCHES,
    WAITS,
    RSS,
    SERVER,
    SOFTIRQ,
    OTHERS,
    LOAD,
];

/// Of operations of a scheduler.
const SCHEDULING_COLUMNS: &[Column] = &[
    WALL_NS,
    P50,
    P99,
    CPU_NS,
    ("user", |s| s.user_us_per_op() * 1e3, 1),
    ("sys", |s| s.sys_us_per_op() * 1e3, 1),
    OPS,
    ("switches/op", Sample::switches_per_op, 6),
    OTHERS,
];

/// Of tasks that are born at once and done in the end.
const BURST_COLUMNS: &[Column] = &[
    ("makespan ms", |s| s.wall_ns as f64 / 1e6, 1),
    ("p50 ms", |s| micros(s.p50_ns) / 1e3, 1),
    ("p99 ms", |s| micros(s.p99_ns) / 1e3, 1),
    ("CPU ms", |s| s.cpu_ns as f64 / 1e6, 1),
    ("switches", |s| s.switches as f64, 0),
    ("voluntary", |s| s.voluntary as f64, 0),
    ("steals", |s| s.counted(|c| c.steals), 0),
    ("tasks stolen", |s| s.counted(|c| c.tasks_stolen), 0),
    ("overflows", |s| s.counted(|c| c.overflows), 0),
    OTHERS,
];

/// Of servers of several workers below saturation.
const EVEN_COLUMNS: &[Column] = &[
    CPU_US,
    USER_US,
    SYS_US,
    OPS,
    P50,
    P99,
    P999,
    VOLUNTARY,
    SWITCHES,
    WAITS,
    ("parks/op", |s| s.counted(|c| c.parks) / s.ops as f64, 4),
    ("doorbells/op", |s| s.counted(|c| c.doorbells) / s.ops as f64, 4),
    ("tasks stolen", |s| s.counted(|c| c.tasks_stolen), 0),
    ("busier core %", Sample::busier_core_percent, 0),
    SERVER,
    SOFTIRQ,
    LOAD,
    OTHERS,
];

/// Of servers one of whose workers is blocked.
const STUCK_COLUMNS: &[Column] = &[
    P50,
    P99,
    P999,
    ("requests", |s| s.ops as f64, 0),
    ("in time", |s| s.beside_stuck(|stuck| stuck.answered as f64), 0),
    ("tasks in time", |s| s.beside_stuck(|stuck| stuck.culprit.tasks_run as f64), 0),
    ("new in time", |s| s.beside_stuck(|stuck| stuck.new_served as f64), 0),
    ("told after ms", |s| s.beside_stuck(|stuck| micros(stuck.culprit.reported_ns) / 1e3), 1),
    ("tasks stolen", |s| s.counted(|c| c.tasks_stolen), 0),
    CPU_US,
    VOLUNTARY,
    OTHERS,
];

/// Of what lives and does nothing, by how many there are.
const MEMORY_COLUMNS: &[Column] = &[
    ("memory B each", |s| s.special(MEMORY_EACH), 0),
    ("heap B each", |s| s.special(HEAP_EACH), 0),
    ("before KiB", |s| s.special(MEMORY_BEFORE), 0),
    RSS,
];

/// Of servers that have nothing to do.
const REST_COLUMNS: &[Column] = &[
    ("CPU µs/s", CPU_AT_REST, 1),
    ("switches/s", |s| s.switches as f64 / (s.wall_ns as f64 / 1e9), 2),
    RSS,
    OTHERS,
];

const CPU_AT_REST: Reading = |s| s.cpu_ns as f64 / 1e3 / (s.wall_ns as f64 / 1e9);

/// Names of special readings: bytes that no file backs, by connection or task; the part of them that was
/// allocated; KiB that no file backs before there were any.
pub(crate) const MEMORY_EACH: &str = "memory each";
pub(crate) const HEAP_EACH: &str = "heap each";
pub(crate) const MEMORY_BEFORE: &str = "memory before";

/// What is shown of one kind of work.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) columns: &'static [Column],
    /// One table of ratios each.
    pub(crate) ratios: &'static [Cost],
    /// One generator, on a CPU of its own, waits for the server: if it is busy, it may be the limit.
    pub(crate) is_closed_loop: bool,
}

impl Layout {
    /// Whether it shows readings that somebody else's work would disturb.
    pub(crate) fn is_timed(&self) -> bool {
        self.columns.iter().any(|(heading, ..)| *heading == OTHERS.0)
    }
}

const CPU_PER_OP: Cost = ("CPU per op", Sample::cpu_ns_per_op, Unit::Nanos);
const TIME_PER_OP: Cost = ("time per op", Sample::wall_ns_per_op, Unit::Nanos);
const P50_RATIO: Cost = ("p50", P50.1, Unit::Micros);
const P99_RATIO: Cost = ("p99", P99.1, Unit::Micros);
const TENTH_RATIO: Cost = (P99_OF_A_TENTH, TENTH.1, Unit::Micros);
const P999_RATIO: Cost = ("p99.9", P999.1, Unit::Micros);
/// The kernel does some of a stream on a thread of its own, for which no process pays: what the CPU was busy
/// for.
const BUSY_PER_OP: Cost = ("busy CPU per op", |s| s.per_op(s.busy_ns), Unit::Nanos);

/// What the server, the generators beside it and everybody else used of their CPUs: a server that leaves its
/// work to its clients gains nothing here.
const MACHINE_PER_OP: Cost = ("CPU of the machine per op", Sample::machine_ns_per_op, Unit::Nanos);

/// Of servers and readers.
pub(crate) const SERVING: Layout =
    Layout { columns: SERVING_COLUMNS, ratios: &[CPU_PER_OP, P50_RATIO, P99_RATIO], is_closed_loop: true };

/// Of servers that stream.
pub(crate) const STREAMING: Layout =
    Layout { columns: STREAM_COLUMNS, ratios: &[BUSY_PER_OP, CPU_PER_OP], is_closed_loop: true };

/// Of servers below saturation: latencies are their own, not those of a queue.
pub(crate) const OPEN: Layout = Layout {
    columns: OPEN_COLUMNS,
    ratios: &[P50_RATIO, TENTH_RATIO, P99_RATIO, P999_RATIO, CPU_PER_OP],
    is_closed_loop: false,
};

/// Of servers that share their CPUs with the load.
pub(crate) const SHARED_CPUS: Layout =
    Layout { columns: SHARED_COLUMNS, ratios: &[CPU_PER_OP, MACHINE_PER_OP], is_closed_loop: false };

/// Of operations of a scheduler.
pub(crate) const SCHEDULING: Layout =
    Layout { columns: SCHEDULING_COLUMNS, ratios: &[TIME_PER_OP, CPU_PER_OP], is_closed_loop: false };

/// Of runtimes that start and end.
pub(crate) const STARTING: Layout = Layout {
    columns: &[
        ("ms each", |s| s.wall_ns_per_op() / 1e6, 3),
        ("CPU ms each", |s| s.cpu_ns_per_op() / 1e6, 3),
        ("switches each", Sample::switches_per_op, 1),
        RSS,
        OTHERS,
    ],
    ratios: &[TIME_PER_OP, CPU_PER_OP],
    is_closed_loop: false,
};

/// Of tasks that are born at once and done in the end.
pub(crate) const BURST: Layout = Layout {
    columns: BURST_COLUMNS,
    ratios: &[
        ("makespan", |s| s.wall_ns as f64, Unit::Nanos),
        ("p99 from birth to end", P99.1, Unit::Micros),
        ("CPU", |s| s.cpu_ns as f64, Unit::Nanos),
        ("switches", |s| s.switches as f64, Unit::Times),
    ],
    is_closed_loop: false,
};

/// Of servers of several workers below saturation.
pub(crate) const EVEN: Layout = Layout {
    columns: EVEN_COLUMNS,
    ratios: &[
        CPU_PER_OP,
        ("voluntary switches per op", VOLUNTARY.1, Unit::Times),
        ("enters per op", WAITS.1, Unit::Times),
    ],
    is_closed_loop: false,
};

/// Of servers one of whose workers is blocked.
pub(crate) const STUCK: Layout = Layout {
    columns: STUCK_COLUMNS,
    ratios: &[P50_RATIO, P99_RATIO, P999_RATIO, CPU_PER_OP],
    is_closed_loop: false,
};

/// Of many connections or tasks that do nothing.
pub(crate) const MEMORY: Layout = Layout {
    columns: MEMORY_COLUMNS,
    ratios: &[
        ("memory each", |s| s.special(MEMORY_EACH), Unit::Bytes),
        ("heap each", |s| s.special(HEAP_EACH), Unit::Bytes),
    ],
    is_closed_loop: false,
};

/// Of servers at rest.
pub(crate) const REST: Layout = Layout {
    columns: REST_COLUMNS,
    ratios: &[("CPU at rest", CPU_AT_REST, Unit::Micros)],
    is_closed_loop: false,
};

fn micros(nanos: Option<u64>) -> f64 {
    nanos.map_or(f64::NAN, |ns| ns as f64 / 1e3)
}
