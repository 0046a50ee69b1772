//! What a core that has nothing to run asks of its ring, turn by turn.
#![forbid(unsafe_code)]

use super::*;
use crate::ring::stub;
use crate::sched::idle::Appetite;
use crate::sched::single;
use crate::sched::watchdog::{self, Watchdog};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_kernel_that_claims_work_and_has_none_does_not_keep_a_core_awake() {
    let hungry_at_once = Appetite { threshold: 0, surplus_young: 0, surplus_old: 0 };
    let quiet = watchdog::Config { what: Watchdog::Off, after: Duration::MAX };
    let (shared, queue) = single::core(Some(hungry_at_once), quiet);
    let inbox = Arc::clone(&shared.cores[0].inbox);
    let (ring, kernel) = stub::ring(Arc::clone(&inbox));
    kernel.claims_work.set(true);
    let clock = time::enter(time::Driver::new(Instant::now(), inbox));
    let core = Rc::new(Core::new(shared, 0, queue));
    let mut worker = Worker::new(core, ring, clock, Victims::new(0, &[crate::sys::topology::Distance::Far]));
    for _ in 0..3 {
        // It looks once before it searches, and sleeps then.
        worker.turn(Instant::now());
        worker.turn(Instant::now());
        let enters = kernel.enters.take();
        assert!(matches!(enters[..], [.., Wait::No, Wait::Until(_)]), "{enters:?}");
    }
}
