//! Placement: cores are where they were put, and nothing else is.

mod kit;

use kit::process::{allowed_cpus, alone, count_cpus, thread_id, threads, threads_named};
use kit::{Folder, bounded, runtime, wait_for};
use ringwork::fs::File;
use ringwork::runtime::{Builder, Pin, Runtime};
use std::thread;

/// The mask of the thread that asks.
fn mine() -> String {
    allowed_cpus(thread_id()).expect("the thread lives")
}

fn pinned(cores: usize) -> Runtime {
    Builder::new().cores(cores).pin(Pin::Each).build().unwrap()
}

/// As many cores as there are CPUs, two at most.
fn width() -> usize {
    count_cpus(&mine()).min(2)
}

#[test]
fn pinned_cores_have_a_cpu_each() {
    alone(|| {
        let runtime = pinned(width());
        let cpus: Vec<String> = (0..width())
            .map(|core| {
                let asked = runtime.handle().spawn_on(core, || async { mine() });
                runtime.block_on(asked).unwrap()
            })
            .collect();
        assert!(cpus.iter().all(|cpu| count_cpus(cpu) == 1), "{cpus:?}");
        assert!(cpus.iter().collect::<std::collections::HashSet<_>>().len() == cpus.len());
    });
}

#[test]
fn cores_that_are_not_pinned_may_run_anywhere() {
    alone(|| {
        let all = mine();
        let runtime = runtime(2);
        for core in 0..2 {
            let asked = runtime.handle().spawn_on(core, || async { mine() });
            assert_eq!(runtime.block_on(asked).unwrap(), all);
        }
    });
}

/// Nor do they if the thread that builds is bound to one: a pinned core, or a thread that one has started.
#[test]
fn cores_that_are_not_pinned_may_run_anywhere_also_if_a_pinned_core_builds_them() {
    fn masks_inside() -> Vec<String> {
        let inner = runtime(2);
        let (told, masks) = std::sync::mpsc::channel();
        for core in 0..2 {
            let told = told.clone();
            drop(inner.handle().spawn_on(core, move || async move { told.send(mine()) }));
        }
        (0..2).map(|_| masks.recv().unwrap()).collect()
    }
    alone(|| {
        let all = mine();
        let runtime = pinned(1);
        let asked = runtime.handle().spawn_on(0, || async {
            let on_the_core = masks_inside();
            [on_the_core, thread::spawn(masks_inside).join().unwrap()].concat()
        });
        let masks = runtime.block_on(asked).unwrap();
        assert!(masks.iter().all(|mask| *mask == all), "{all}: {masks:?}");
    });
}

#[test]
fn more_cores_than_cpus_are_not_pinned() {
    alone(|| {
        let all = mine();
        let runtime = pinned(count_cpus(&all) + 1);
        let asked = runtime.handle().spawn_on(0, || async { mine() });
        assert_eq!(runtime.block_on(asked).unwrap(), all);
    });
}

#[test]
fn the_thread_that_builds_is_not_touched() {
    alone(|| {
        let all = mine();
        let runtime = pinned(width());
        assert_eq!(mine(), all);
        runtime.block_on(async {});
        drop(runtime);
        assert_eq!(mine(), all);
    });
}

#[test]
fn threads_jobs_and_children_of_a_pinned_core_see_all_cpus() {
    alone(|| {
        let all = mine();
        let runtime = pinned(width());
        let asked = runtime.handle().spawn_on(0, || async {
            let short = ringwork::spawn_blocking(mine).await.unwrap();
            let heavy = ringwork::spawn_heavy(mine).await.unwrap();
            let child = ringwork::spawn_blocking(child_mask).await.unwrap();
            let direct = child_mask();
            let thread = ringwork::thread::spawn(mine).join().unwrap();
            [short, heavy, child, direct, thread]
        });
        let seen = runtime.block_on(asked).unwrap();
        assert!(seen.iter().all(|mask| *mask == all), "{all}: {seen:?}");
    });
}

/// The mask of a child that `process::command` starts.
fn child_mask() -> String {
    let mut command = ringwork::process::command("grep");
    let output = command.args(["Cpus_allowed_list", "/proc/self/status"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().last().expect("a list").to_owned()
}

#[test]
fn a_std_thread_of_a_pinned_core_inherits_its_cpu() {
    alone(|| {
        let runtime = pinned(1);
        let asked = runtime.handle().spawn_on(0, || async { thread::spawn(mine).join().unwrap() });
        assert_eq!(count_cpus(&runtime.block_on(asked).unwrap()), 1, "this is why there is ours");
    });
}

#[test]
fn a_command_of_ours_starts_what_std_would() {
    alone(|| {
        let status = ringwork::process::command("sh").args(["-c", "exit 7"]).status().unwrap();
        assert_eq!(status.code(), Some(7));
        ringwork::process::command("/there/is/no/such/program").spawn().expect_err("ENOENT");
    });
}

/// What the kernel has no way to do without waiting runs on its helper threads: not on the core's CPU alone.
#[test]
fn kernel_helpers_of_a_pinned_core_may_run_beside_it() {
    alone(|| {
        bounded(|| {
            if width() < 2 {
                return;
            }
            let all = mine();
            let runtime = pinned(1);
            let folder = Folder::new();
            let own = folder.join("file");
            let work = runtime.handle().spawn_on(0, move || async move {
                let file = File::create(&own).await.unwrap();
                // Never done inline.
                file.allocate(0, 1 << 16).await.ok();
                file.sync_all().await.unwrap();
                mine()
            });
            let core = runtime.block_on(work).unwrap();
            // They stay for some seconds.
            wait_for("a helper", || !threads_named("iou-wrk").is_empty());
            let masks: Vec<_> = threads_named("iou-wrk").into_iter().filter_map(allowed_cpus).collect();
            for mask in masks {
                assert_ne!(mask, core, "bound to the core's own CPU (all: {all})");
                assert!(count_cpus(&mask) >= count_cpus(&all) - 1, "{mask} of {all}");
            }
        });
    });
}

#[test]
fn the_default_is_no_more_cores_than_cpus() {
    alone(|| {
        let all = count_cpus(&mine());
        let runtime = Builder::new().build().unwrap();
        let cores = runtime.handle().cores();
        assert!((1..=all).contains(&cores), "{cores} cores on {all} CPUs");
    });
}

#[test]
fn a_process_that_may_use_one_cpu_gets_one_core_there() {
    alone(|| {
        // Before anything of ours asks for the mask.
        let mut set: libc::cpu_set_t = bare_set();
        let first: usize = mine().split(['-', ',']).next().unwrap().parse().unwrap();
        // SAFETY: a CPU of our own mask is within the set.
        unsafe { libc::CPU_SET(first, &mut set) };
        // SAFETY: reads a local set for the calling thread.
        let put = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
        assert_eq!(put, 0);
        let runtime = Builder::new().build().unwrap();
        assert_eq!(runtime.handle().cores(), 1);
        let asked = runtime.block_on(runtime.spawn(async { mine() })).unwrap();
        assert_eq!(asked, first.to_string());
        assert!(threads().len() >= 2);
    });
}

fn bare_set() -> libc::cpu_set_t {
    // SAFETY: an all-zero set is the empty one.
    unsafe { std::mem::zeroed() }
}
