//! A core whose clock stands. In processes of their own: once any clock of a process has been stopped, all
//! its threads read theirs another way.
#![forbid(unsafe_code)]

use super::super::super::{Hold, go_by};
use super::*;
use std::process::Command;

/// Runs `body`, which is the test of that name, in a process in which no other test runs.
fn alone(name: &str, body: impl FnOnce()) {
    const CHILD: &str = "RINGWORK_TEST_STOPPED";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let test = format!("{}::{name}", module_path!().split_once("::").expect("it lies in a crate").1);
    let mut program = Command::new(std::env::current_exe().unwrap());
    let ended = program.args([&test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", ended.status);
}

#[test]
fn a_clock_does_not_jump_past_what_was_brought_under_a_hold_that_is_over() {
    alone("a_clock_does_not_jump_past_what_was_brought_under_a_hold_that_is_over", || {
        let ((home, clock), count) = (Home::stopped(), Arc::new(Count::default()));
        let _by = go_by(Some(Arc::clone(&clock)));
        let (begun, mut late, mut soon) = (Instant::now(), sleep(2 * HOUR), sleep(HOUR));
        assert!(poll(&mut late, &count).is_pending());
        let quiet = may_jump().expect("nobody holds the clock");
        // What a core does between the two.
        assert!(home.inbox.is_empty());
        elsewhere(&home, || {
            let hold = Hold::of(Some(&*clock));
            assert!(poll(&mut soon, &count).is_pending());
            drop(hold);
        });
        jump(quiet);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // The next time it sees what has come.
        home.inbox.take_pinned().for_each(Message::deliver);
        jump(may_jump().expect("nobody holds the clock"));
        assert_eq!(Instant::now(), soon.deadline());
    });
}

#[test]
fn a_clock_that_somebody_holds_does_not_jump() {
    alone("a_clock_that_somebody_holds_does_not_jump", || {
        let ((_home, clock), count) = (Home::stopped(), Arc::new(Count::default()));
        let _by = go_by(Some(Arc::clone(&clock)));
        let (begun, mut nap) = (Instant::now(), sleep(HOUR));
        assert!(poll(&mut nap, &count).is_pending());
        let quiet = may_jump().expect("nobody holds the clock");
        let (one, other) = (Hold::of(Some(&*clock)), Hold::of(Some(&*clock)));
        jump(quiet);
        drop(one);
        assert!(may_jump().is_none());
        drop(other);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        jump(may_jump().expect("nobody holds the clock"));
        assert_eq!(begun.elapsed(), HOUR);
    });
}
