//! What was found, in columns that a person reads from top to bottom.
//!
//! Every function gives text; printing is for `main`.

use crate::disk::{Disk, Worker};
use ringwork::runtime::{Capabilities, RingSize, Rings};
use std::fmt::{Display, Write};

/// Where the second column starts.
const SECOND: usize = 19;
/// Where a line is broken at the latest.
const WIDTH: usize = 100;

/// A line of two columns.
fn row(name: &str, value: impl Display) -> String {
    format!("{name:SECOND$}{value}\n")
}

/// A line of two columns, continued below itself if it is long.
fn paragraph(name: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if SECOND + line.len() + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(&lines).map(|(name, line)| row(name, line)).collect()
}

/// What the kernel and the container allow.
pub(crate) fn surroundings(found: &Capabilities) -> String {
    let io_uring = match found.io_uring_disabled {
        None => "this kernel has no switch for it".to_owned(),
        Some(0) => "open to all (kernel.io_uring_disabled = 0)".to_owned(),
        Some(1) => "open to one group and to administrators (kernel.io_uring_disabled = 1)".to_owned(),
        Some(level) => format!("closed to all (kernel.io_uring_disabled = {level})"),
    };
    let seccomp = if found.seccomp { "a filter looks at system calls" } else { "no filter" };
    let locked = match found.locked_memory {
        None => "no limit for this process".to_owned(),
        Some(bytes) => format!("{} KiB for all programs of this user together", bytes / 1024),
    };
    let quota = match found.cpu_quota {
        None => "no quota".to_owned(),
        Some(quota) => format!("a quota of {quota:.2} CPUs' time"),
    };
    let cpus = format!("{} ({}), {quota}", found.cpus.len(), ranges(&found.cpus));
    [
        row("kernel", format_args!("Linux {} (needed: 6.1 or newer)", found.kernel)),
        row("io_uring", io_uring),
        row("seccomp", seccomp),
        row("locked memory", locked),
        row("descriptors", format_args!("{} for this process", found.open_files)),
        row("CPUs", cpus),
    ]
    .concat()
}

/// What a runtime uses.
pub(crate) fn rings(found: &Capabilities) -> String {
    let mut text = String::from("\n");
    text += &row("cores", format_args!("{}, {}", found.cores.len(), placement(found)));
    let rings = match &found.rings {
        Ok(rings) => rings,
        Err(error) => return text + &paragraph("rings", &error.to_string()),
    };
    text += &row("rings", sizes(rings));
    text += &row("operations", format_args!("all {} that ringwork uses", rings.operations));
    text += &format!("\n{:SECOND$}{:8}{:8}without it\n", "feature", "since", "here");
    for feature in &rings.features {
        let here = if feature.present { "yes" } else { "no" };
        let _ = writeln!(text, "{:SECOND$}{:8}{here:8}{}", feature.name, feature.since, feature.without);
    }
    text
}

fn placement(found: &Capabilities) -> String {
    let pinned: Vec<usize> = found.cores.iter().copied().flatten().collect();
    if pinned.is_empty() {
        return format!("not pinned: {}", found.pinning);
    }
    let cpus = if pinned.len() == 1 { "CPU" } else { "CPUs" };
    format!("pinned to {cpus} {}: {}", ranges(&pinned), found.pinning)
}

fn sizes(rings: &Rings) -> String {
    let show = |size: RingSize| format!("{} submissions, {} completions", size.submissions, size.completions);
    let Some(least) = rings.reached.iter().copied().min_by_key(|size| size.submissions) else {
        return "none".to_owned();
    };
    if least == rings.wanted {
        return format!("{} for each core, as wanted", show(least));
    }
    format!("{} for each core at least; wanted were {}", show(least), show(rings.wanted))
}

/// What was learned about the folder.
pub(crate) fn disk(disk: &Disk) -> String {
    let who = |result: &Result<Worker, String>| match result {
        Ok(Worker::Core) => "the core does it on the spot".to_owned(),
        Ok(Worker::Helper) => "a kernel helper thread does it (io-wq)".to_owned(),
        Err(why) => format!("not tried: {why}"),
    };
    let remark = match (&disk.write, disk.file_system.as_str()) {
        (Ok(Worker::Helper), "tmpfs") => {
            "So does every file operation on tmpfs: do not measure file I/O here."
        }
        (Ok(Worker::Helper), _) => {
            "This is as the kernel is. A log that must be fast writes with O_DIRECT over space that it has \
             allocated and filled before."
        }
        _ => "",
    };
    [
        "\n".to_owned(),
        row("folder", format_args!("{} on {}", disk.folder.display(), disk.file_system)),
        row("cached read", who(&disk.read)),
        row("buffered write", who(&disk.write)),
        if remark.is_empty() { String::new() } else { paragraph("", remark) },
        "\n".to_owned(),
    ]
    .concat()
}

/// The end of the report.
pub(crate) fn verdict(starts: bool, advice: &[String]) -> String {
    if !starts {
        return format!("\n{}", row("verdict", "no runtime can start here"));
    }
    let mut text = String::new();
    for (index, line) in advice.iter().enumerate() {
        text += &paragraph(if index == 0 { "to change" } else { "" }, line);
    }
    if advice.is_empty() {
        text += &row("to change", "nothing");
    }
    text + &row("verdict", "a runtime starts here")
}

/// Numbers in order, runs as `first-last`.
fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let show = |(first, last): (usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.into_iter().map(show).collect::<Vec<_>>().join(",")
}
