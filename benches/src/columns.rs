//! Which readings the tables of a workload show, and which of them are set in relation to other peers. No
//! tables are drawn here.

use crate::sample::Sample;
use crate::suite::Work;

/// One number out of a sample; not a number if the sample has none.
pub(crate) type Reading = fn(&Sample) -> f64;

/// Heading, reading, decimals.
pub(crate) type Column = (&'static str, Reading, usize);

const OPS: Column = ("op/s", Sample::ops_per_s, 0);
const P50: Column = ("p50 µs", |s| micros(s.p50_ns), 1);
const P999: Column = ("p99.9 µs", |s| micros(s.p999_ns), 1);
const P99: Column = ("p99 µs", |s| micros(s.p99_ns), 1);
const SWITCHES: Column = ("switches/op", Sample::switches_per_op, 4);
const OTHERS: Column = ("others' CPU %", Sample::others_percent, 0);
const VOLUNTARY: Column = ("voluntary/op", |s| s.per_op(s.voluntary), 4);
const ENTERS: Column = ("enters/op", |s| s.counted(|c| c.enters) / s.ops as f64, 4);
const CPU_US: Column = ("CPU µs/op", Sample::cpu_us_per_op, 2);
const WALL_NS: Column = ("ns/op", Sample::wall_ns_per_op, 1);
const CPU_NS: Column = ("CPU ns/op", Sample::cpu_ns_per_op, 1);

/// Of servers and readers.
const SERVING: &[Column] = &[
    CPU_US,
    ("user", Sample::user_us_per_op, 2),
    ("sys", Sample::sys_us_per_op, 2),
    OPS,
    P50,
    P99,
    SWITCHES,
    ("server CPU %", Sample::server_percent, 0),
    OTHERS,
    ("load CPU %", |s| s.load_percent().unwrap_or(f64::NAN), 0),
];

/// Of operations of a scheduler.
const SCHEDULING: &[Column] = &[
    WALL_NS,
    CPU_NS,
    ("user", |s| s.user_us_per_op() * 1e3, 1),
    ("sys", |s| s.sys_us_per_op() * 1e3, 1),
    OPS,
    ("switches/op", Sample::switches_per_op, 6),
    OTHERS,
];

/// Of tasks that are born at once and done in the end.
const BURST: &[Column] = &[
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
const EVEN: &[Column] = &[
    CPU_US,
    ("user", Sample::user_us_per_op, 2),
    ("sys", Sample::sys_us_per_op, 2),
    OPS,
    P50,
    P99,
    VOLUNTARY,
    SWITCHES,
    ENTERS,
    ("parks/op", |s| s.counted(|c| c.parks) / s.ops as f64, 4),
    ("doorbells/op", |s| s.counted(|c| c.doorbells) / s.ops as f64, 4),
    ("tasks stolen", |s| s.counted(|c| c.tasks_stolen), 0),
    ("busier core %", Sample::busier_core_percent, 0),
    ("server CPU %", Sample::server_percent, 0),
    ("load CPU %", |s| s.load_percent().unwrap_or(f64::NAN), 0),
    OTHERS,
];

/// Of servers one of whose workers is blocked.
const STUCK: &[Column] = &[
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

/// What is shown of one kind of work.
pub(crate) struct Layout {
    pub(crate) columns: &'static [Column],
    /// What a row pays in relation to a column, one table each: the words above it, and the reading.
    pub(crate) ratios: &'static [(&'static str, Reading)],
}

const CPU_PER_OP: (&str, Reading) = ("CPU per op", Sample::cpu_ns_per_op);
const TIME_PER_OP: (&str, Reading) = ("time per op", Sample::wall_ns_per_op);

impl Layout {
    /// The layout for `work`.
    pub(crate) fn of(work: Work) -> Layout {
        match work {
            Work::Echo { .. } | Work::Proxy { .. } | Work::Read { .. } => {
                Layout { columns: SERVING, ratios: &[CPU_PER_OP] }
            }
            Work::Local(_) | Work::Send(_) => {
                Layout { columns: SCHEDULING, ratios: &[TIME_PER_OP, CPU_PER_OP] }
            }
            Work::Even { .. } => Layout {
                columns: EVEN,
                ratios: &[
                    CPU_PER_OP,
                    ("voluntary switches per op", VOLUNTARY.1),
                    ("enters per op", ENTERS.1),
                ],
            },
            Work::Stuck { .. } => Layout {
                columns: STUCK,
                ratios: &[("p50", P50.1), ("p99", P99.1), ("p99.9", P999.1), CPU_PER_OP],
            },
            Work::Hot { .. } => Layout {
                columns: BURST,
                ratios: &[
                    ("makespan", Sample::wall_ns_per_op),
                    ("p99 from birth to end", |s| micros(s.p99_ns)),
                    ("CPU", Sample::cpu_ns_per_op),
                ],
            },
        }
    }
}

fn micros(nanos: Option<u64>) -> f64 {
    nanos.map_or(f64::NAN, |ns| ns as f64 / 1e3)
}
