//! Every workload runs with every peer, and what a run leaves behind can be read, compared and drawn.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Peers of every workload that need nothing but this package.
#[cfg(feature = "ringwork")]
const NO_FOREIGN: &str = "floor,floor-splice,epoll,pread,pwrite,tokio,tokio-shared,tokio-one-blocking,\
     tokio-multi,monoio,glommio,glommio-shared,compio,compio-managed,smol,smol-shared,ringwork,ringwork-bare";
#[cfg(not(feature = "ringwork"))]
const NO_FOREIGN: &str = "floor,floor-splice,epoll,pread,pwrite,tokio,tokio-shared,tokio-one-blocking,\
     tokio-multi,monoio,glommio,glommio-shared,compio,compio-managed,smol,smol-shared";

#[test]
fn comparison_prints_a_table_and_writes_json() {
    let json = std::env::temp_dir().join(format!("ringwork-bench-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
        .args(["compare", "--only", "echo-64x1,proxy-64x64", "--peers", "floor,tokio"])
        .args(["--rounds", "2", "--warm", "20", "--measure", "50", "--json"])
        .arg(&json)
        .output()
        .expect("the harness starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("echo-64x1") && text.contains("CPU per op"), "{text}");
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).expect("it was written")).expect("JSON");
    fs::remove_file(&json).expect("it was ours");
    assert_eq!(document["workloads"][1]["peers"][1]["samples"].as_array().map(Vec::len), Some(2));
    assert!(document["workloads"][0]["peers"][0]["ratios"]["CPU per op"]["tokio"]["median"].is_f64());
}

#[test]
fn a_reader_that_goes_away_ends_neither_a_list_nor_a_run() {
    let json = std::env::temp_dir().join(format!("ringwork-bench-{}-unread.json", std::process::id()));
    let short = ["--only", "yield", "--peers", "tokio", "--rounds", "1", "--warm", "5", "--measure", "20"];
    for words in [&["list"][..], &["compare", "--json", json.to_str().unwrap()]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"));
        command.args(words).stdout(writer);
        if words.len() > 1 {
            command.args(short);
        }
        let output = command.output().expect("the harness starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    fs::remove_file(&json).expect("the run was written");
}

/// Runs one short round of `workloads` with all their peers; the document that it writes.
fn short_comparison(workloads: &str, options: &[&str]) -> serde_json::Value {
    let name = format!("ringwork-bench-{}-{workloads}.json", std::process::id());
    let json = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
        .args(["compare", "--only", workloads, "--rounds", "1", "--warm", "5", "--measure", "20", "--json"])
        .arg(&json)
        .args(options)
        .output()
        .expect("the harness starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let document = serde_json::from_str(&fs::read_to_string(&json).expect("it was written")).expect("JSON");
    fs::remove_file(&json).expect("it was ours");
    document
}

/// The samples of all peers of all workloads, with names, in a document that has one round.
fn samples(document: &serde_json::Value) -> Vec<(String, serde_json::Value)> {
    let array = |value: &serde_json::Value| value.as_array().expect("an array").clone();
    let mut all = Vec::new();
    for workload in array(&document["workloads"]) {
        for peer in array(&workload["peers"]) {
            let name = format!("{} {}", workload["name"], peer["peer"]);
            // Somebody else's program may be missing on this machine, and one of ours not built.
            if peer["skipped"].is_null() {
                assert_eq!(array(&peer["samples"]).len(), 1, "{name}");
            } else {
                continue;
            }
            all.push((name, peer["samples"][0].clone()));
        }
    }
    all
}

#[test]
fn operations_of_local_tasks_are_done_by_every_peer() {
    let document = short_comparison("spawn-join,yield,ping-pong,chained-spawn,timers", &["--idle", "1000"]);
    let samples = samples(&document);
    // glommio takes part in two ways, and so does ringwork.
    assert_eq!(samples.len(), 5 * (6 + 2 * usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops >= 1000 && ops.is_multiple_of(1000), "{name}: {ops} ops");
        assert_eq!(sample["cpus"], 1, "{name}");
    }
}

#[test]
fn operations_of_send_tasks_are_done_by_every_peer_on_two_cpus() {
    let document = short_comparison("spawn-many,yield-many,pair-ping-pong,chained-spawn-send", &[]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 4 * (1 + usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops >= 1000 && ops.is_multiple_of(1000), "{name}: {ops} ops");
        assert_eq!(sample["cpus"], 2, "{name}");
    }
}

#[test]
fn a_burst_of_tasks_is_worked_off_by_every_peer_however_it_is_born() {
    let document = short_comparison("hot-core,hot-core-balanced", &["--tasks", "401"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 2 * (1 + 2 * usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        assert_eq!(sample["ops"], 401, "{name}");
        // Every task has noted when it ended: else there would be a life of no time.
        assert!(sample["p50_ns"].as_u64() > Some(1000), "{name}: {sample}");
        let steals = sample["counters"]["steals"].as_u64();
        assert_eq!(steals.is_some(), name.contains("ringwork"), "{name}");
        assert!(!name.contains("never") || steals == Some(0), "{name}: {steals:?}");
    }
}

#[test]
fn every_server_of_two_workers_stands_even_load_below_its_saturation() {
    let document = short_comparison("even-30", &["--measure", "400"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 1 + 2 * usize::from(cfg!(feature = "ringwork")));
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
        let polls = sample["counters"]["polls"].as_array();
        assert_eq!(polls.is_some(), name.contains("ringwork"), "{name}: {sample}");
        let is_at_work = |polls: &serde_json::Value| polls.as_u64() > Some(0);
        assert!(
            polls.is_none_or(|polls| polls.len() == 2 && polls.iter().all(is_at_work)),
            "{name}: {sample}"
        );
    }
}

#[test]
fn a_worker_that_is_blocked_in_a_poll_is_no_reason_to_fail() {
    let document = short_comparison("stuck-core,stuck-core-alone", &["--rate", "50000", "--block", "1000"]);
    let samples = samples(&document);
    assert_eq!(samples.len(), 2 * (2 + 2 * usize::from(cfg!(feature = "ringwork"))));
    for (name, sample) in samples {
        let stuck = &sample["stuck"];
        assert!(sample["ops"].as_u64() >= stuck["answered"].as_u64(), "{name}: {sample}");
        assert!(sample["p999_ns"].as_u64() > Some(0), "{name}: {sample}");
        let tasks = if name.contains("alone") { 0 } else { 1000 };
        // What waits at the end of a worker's own queue is nobody else's with tokio.
        let is_enough = |run: u64| run == tasks || name.contains("tokio-multi-stuck") && run < tasks;
        assert!(stuck["culprit"]["tasks_run"].as_u64().is_some_and(is_enough), "{name}: {sample}");
        if name.contains("ringwork") {
            // Half of them came for the stuck core. The last few may have come too late on a busy machine.
            assert!(stuck["new_served"].as_u64() >= Some(40), "{name}: {sample}");
        }
        let is_told = stuck["culprit"]["reported_ns"].is_u64();
        assert!(is_told || !name.contains("ringwork-stuck"), "{name}: {sample}");
        assert!(!is_told || name.contains("ringwork"), "{name}: {sample}");
    }
}

#[test]
fn work_from_outside_the_workers_and_between_threads_is_done_by_every_peer() {
    // Not glommio: on a busy machine one of its threads was seen to miss a wake from another.
    let peers = if cfg!(feature = "ringwork") { "ringwork," } else { "" }.to_owned()
        + "tokio,tokio-multi,compio,smol";
    let work = "remote-8,blocking-8,cross-ping-pong,cross-stream,start-*";
    let document = short_comparison(work, &["--peers", &peers, "--measure", "100"]);
    let samples = samples(&document);
    // remote, blocking, start-two: tokio multi-thread; between threads and start-one the others.
    assert_eq!(samples.len(), 3 + 3 * 3 + 6 * usize::from(cfg!(feature = "ringwork")));
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn idle_connections_and_sleeping_tasks_are_weighed_in_every_peer() {
    let document = short_comparison("idle-10k,sleepers-10k", &["--idle", "300", "--peers", NO_FOREIGN]);
    for (name, sample) in samples(&document) {
        let heap = sample["special"]["heap each"].as_f64();
        assert!(heap > Some(0.0) && heap < Some(65536.0), "{name}: {sample}");
    }
}

#[test]
fn a_file_is_read_written_and_served_by_every_peer() {
    let work = "read-4096x1,write-4096x1,write-4096x32,log-x64,file-1k,file-64k-nocache,file-10m";
    let document = short_comparison(work, &["--peers", NO_FOREIGN, "--measure", "100"]);
    for (name, sample) in samples(&document) {
        // A turn this short may be too short for 10 MiB on a busy machine; what came was compared all the
        // same.
        assert!(sample["ops"].as_u64() > Some(0) || name.contains("10m"), "{name}: {sample}");
        assert!(sample["cpu_ns"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn a_tree_is_walked_by_every_peer() {
    for (name, sample) in samples(&short_comparison("walk-x1,walk-x8", &["--measure", "100"])) {
        // Whole walks, each of which has seen every file.
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops > 0 && ops.is_multiple_of(4096), "{name}: {sample}");
    }
}

#[test]
fn an_op_of_the_disk_is_timed_from_its_submission_on() {
    let document = short_comparison("read-4096x32,write-4096x32", &["--peers", "floor", "--measure", "300"]);
    for (name, sample) in samples(&document) {
        let [ops, wall, p50] =
            ["ops", "wall_ns", "p50_ns"].map(|key| sample[key].as_f64().expect("a number"));
        // Little's law, of the median instead of the mean: as many as are under way. Pauses of a busy machine
        // are in the mean, but not in the median.
        let under_way = p50 * ops / wall;
        assert!((8.0..=128.0).contains(&under_way), "{name}: {under_way} instead of 32: {sample}");
    }
}

#[test]
fn http_and_tls_are_spoken_by_every_peer() {
    let document = short_comparison("hyper-hello,axum-json,hyper-http2,tls-echo", &["--measure", "300"]);
    let samples = samples(&document);
    let ours = usize::from(cfg!(feature = "ringwork"));
    // Floor, epoll loop and tokio's two runtimes; of HTTP/2 and TLS only its current-thread runtime. TLS is
    // spoken in three ways by ours.
    assert_eq!(samples.len(), 4 + 4 + 3 + 3 + 6 * ours);
    for (name, sample) in samples {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn values_are_found_by_every_peer() {
    for (name, sample) in samples(&short_comparison("redis-64x1,redis-64x64,redis-64x64-p16", &[])) {
        assert!(sample["ops"].as_u64() > Some(0), "{name}: {sample}");
    }
}

#[test]
fn streams_connections_and_open_loops_are_served_by_every_peer() {
    let work = "stream-x1,proxy-bulk-x1,connect,open-10,echo-64x64-p16,echo-65536x64,echo-64x64-all";
    let options = ["--peers", NO_FOREIGN, "--rate", "20000", "--measure", "300"];
    for (name, sample) in samples(&short_comparison(work, &options)) {
        let ops = sample["ops"].as_u64();
        if name.contains("open-10") {
            // A tenth of 20,000 a second, for three tenths of a second: in closed loop it would be thousands.
            assert!(ops < Some(1200), "{name}: {sample}");
            assert!(sample["special"]["p99 of a tenth"].as_f64() > Some(0.0), "{name}: {sample}");
        } else {
            assert!(ops > Some(0), "{name}: {sample}");
        }
    }
}

#[test]
fn servers_on_both_cpus_are_loaded_from_both() {
    let work = "connect-all,proxy-64x64-all,file-1k-all,file-64k-all,hyper-hello-all,axum-json-all";
    for (name, sample) in samples(&short_comparison(work, &["--measure", "300"])) {
        let ops = sample["ops"].as_u64().expect("a number");
        assert!(ops > 0 && sample["load_cpu_ns"].as_u64() > Some(0), "{name}: {sample}");
        // No request costs less than a few system calls: of several processes, all are counted.
        assert!(sample["cpu_ns"].as_u64() > Some(ops * 500), "{name}: {sample}");
        assert_eq!(sample["cpus"], 2, "{name}");
    }
}

#[test]
fn a_run_can_be_compared_with_itself_drawn_and_put_on_a_page() {
    let folder = std::env::temp_dir().join(format!("ringwork-bench-plots-{}", std::process::id()));
    let json = folder.join("run.json");
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"));
        let output = command.args(args).current_dir(&folder).output().expect("the harness starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let short = ["--rounds", "2", "--warm", "5", "--measure", "20", "--peers", "tokio,compio"];
    let args = ["compare", "--only", "yield", "--json", "run.json", "--plots", "."];
    run(&[&args[..], &short].concat());
    let path = json.to_str().expect("a plain path");
    let diff = run(&["diff", path, path]);
    assert!(diff.contains("0 of 2 ratios have changed"), "{diff}");
    let page = run(&["table", path]);
    for text in ["## Operations of a scheduler", "| `yield` | tokio |", "|  | compio |", "--only yield"] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    let drawn = fs::read_to_string(folder.join("yield.svg")).expect("it was drawn");
    assert!(drawn.starts_with("<svg") && drawn.contains("compio"), "{drawn}");
    fs::remove_dir_all(&folder).expect("it was ours");
}

#[test]
fn help_goes_to_standard_output_and_zero_is_refused_by_name() {
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_ringwork-bench")).args(args).output().expect("it starts")
    };
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8_lossy(&help.stdout).contains("compare"));
    for option in ["--tasks", "--rounds"] {
        let refused = run(&["compare", option, "0"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(option), "{text}");
    }
}

#[test]
fn unknown_names_are_one_clear_line() {
    for args in [["compare", "--only=nothing"], ["compare", "--peers=nothing"], ["serve", "nothing"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ringwork-bench")).args(args).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("nothing"), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
}

#[test]
fn what_cannot_be_written_in_the_end_is_refused_before_the_first_turn() {
    let missing = std::env::temp_dir().join(format!("ringwork-bench-{}-missing", std::process::id()));
    let file = std::env::temp_dir().join(format!("ringwork-bench-{}-file", std::process::id()));
    fs::write(&file, "").expect("a file for a folder");
    let short = ["--only", "yield", "--peers", "tokio", "--rounds", "1", "--warm", "5", "--measure", "20"];
    for (option, path) in [
        ("--json", missing.join("run.json")),
        ("--json", std::env::temp_dir()),
        ("--plots", file.join("plots")),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"));
        let output = command.arg("compare").args(short).arg(option).arg(&path).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(path.to_str().expect("plain")), "{path:?}: {text}");
        assert!(!text.contains("round 1/1"), "{text}");
    }
    fs::remove_file(&file).expect("it was ours");
}

#[test]
fn what_was_measured_is_kept_when_a_run_is_killed() {
    let json = std::env::temp_dir().join(format!("ringwork-bench-{}-killed.json", std::process::id()));
    let mut run = Command::new(env!("CARGO_BIN_EXE_ringwork-bench"))
        .args(["compare", "--only", "yield,spawn-join", "--peers", "tokio", "--rounds", "40", "--warm", "5"])
        .args(["--measure", "20", "--json"])
        .arg(&json)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let mut lines = BufReader::new(run.stdout.take().expect("asked for")).lines().map_while(Result::ok);
    let has_table = lines.any(|line| line.starts_with("spawn-join: "));
    run.kill().expect("it is ours");
    run.wait().expect("it has ended");
    assert!(has_table);
    let text = fs::read_to_string(&json).expect("it was written after the first workload");
    fs::remove_file(&json).expect("it was ours");
    let document: serde_json::Value = serde_json::from_str(&text).expect("whole JSON");
    assert_eq!(document["planned"], 2);
    assert_eq!(document["workloads"][0]["name"], "spawn-join");
    assert_eq!(document["workloads"][0]["peers"][0]["samples"].as_array().map(Vec::len), Some(40));
}
