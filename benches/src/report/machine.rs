//! What one must know about the machine and the build to read a figure: kernel, CPU, mitigations, governor,
//! versions, commit. What cannot be found out is said to be unknown, never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use super::{commit, flags};

/// Packages whose versions matter.
const PACKAGES: [&str; 7] = ["compio", "glommio", "io-uring", "monoio", "ringwork", "smol", "tokio"];
/// Programs of others, and how they are asked for their version.
const PROGRAMS: [(&str, &str); 6] = [
    ("nginx", "-v"),
    ("haproxy", "-v"),
    ("redis-server", "-v"),
    ("go", "version"),
    ("strace", "-V"),
    ("rustc", "-V"),
];

/// The lock file of the workspace as it was at build time.
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));

/// Everything, by name.
pub(crate) fn record() -> BTreeMap<&'static str, String> {
    let mut record = BTreeMap::new();
    record.insert("kernel", read("/proc/sys/kernel/osrelease"));
    record.insert("cpu", cpu());
    record.insert("cpus", cpus().to_string());
    record.insert("mitigations", mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")));
    record.insert("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    record.insert("turbo", turbo());
    record.insert("smt", read("/sys/devices/system/cpu/smt/active"));
    record.insert("clock", read("/sys/devices/system/clocksource/clocksource0/current_clocksource"));
    record.insert("transparent_hugepages", read("/sys/kernel/mm/transparent_hugepage/enabled"));
    record.insert("commit", commit());
    record.insert("versions", versions(LOCK));
    record.insert("programs", programs());
    record.insert("build", flags::line());
    record
}

/// Kernel, CPU and number of CPUs in one line.
pub(crate) fn line() -> String {
    format!("Linux {}, {} CPUs, {}", read("/proc/sys/kernel/osrelease"), cpus(), cpu())
}

/// The day that it is in Greenwich.
pub(crate) fn date() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil((now.as_secs() / 86_400) as u32);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of the day that comes that many days after the first one of 1970.
fn civil(days: u32) -> (u32, u32, u32) {
    // From the first of March of the year 0 on, so that the day that is not in every year is the last one.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() }
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Not `available_parallelism`: the harness has pinned itself to one of them.
fn cpus() -> usize {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().filter(|line| line.starts_with("processor")).count()
}

/// Those that cost something: a CPU that is not affected has nothing to pay.
fn mitigations(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            (text.trim() != "Not affected").then(|| format!("{name}: {}", text.trim()))
        })
        .collect();
    found.sort();
    if found.is_empty() { "none or unknown".to_owned() } else { found.join("; ") }
}

fn turbo() -> String {
    match read("/sys/devices/system/cpu/intel_pstate/no_turbo").as_str() {
        "0" => "on".to_owned(),
        "1" => "off".to_owned(),
        _ => match read("/sys/devices/system/cpu/cpufreq/boost").as_str() {
            "1" => "on".to_owned(),
            "0" => "off".to_owned(),
            _ => "unknown".to_owned(),
        },
    }
}

/// The commit of the sources this was built from, and that of the tree if it is at another now: the programs
/// that are built when a run begins are of the tree.
fn commit() -> String {
    let built = env!("RINGWORK_BENCH_COMMIT");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    match commit::of(Path::new(root)) {
        now if now == built || now == "unknown" => built.to_owned(),
        now => format!("{built} when this was built, {now} in the tree now"),
    }
}

/// `name version` of each package that matters, out of a lock file.
fn versions(lock: &str) -> String {
    let value = |line: &str, key: &str| {
        Some(line.strip_prefix(key)?.trim_start_matches([' ', '=']).trim_matches('"').to_owned())
    };
    let mut found = Vec::new();
    let mut name = String::new();
    for line in lock.lines() {
        if let Some(this) = value(line, "name = ") {
            name = this;
        } else if let (Some(version), true) = (value(line, "version = "), PACKAGES.contains(&name.as_str())) {
            found.push(format!("{name} {version}"));
        }
    }
    found.join(", ")
}

/// The first line each program says about its version; those that are not installed are left out.
fn programs() -> String {
    let ask = |(program, flag): &(&str, &str)| {
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
    };
    let found: Vec<String> = PROGRAMS.iter().filter_map(ask).collect();
    if found.is_empty() { "none".to_owned() } else { found.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let lock = "name = \"tokio\"\nversion = \"1.2.3\"\n\nname = \"slab\"\nversion = \"9\"\n";
        assert_eq!(versions(lock), "tokio 1.2.3");
        assert!(versions(LOCK).contains("monoio "));
    }

    #[test]
    fn days_are_named_as_in_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_783), (2026, 11, 26));
        assert_eq!(civil(20_819), (2027, 1, 1));
    }

    #[test]
    fn the_record_names_kernel_commit_and_build() {
        let record = record();
        for name in ["kernel", "cpu", "commit", "build", "mitigations", "governor"] {
            assert!(!record[name].is_empty(), "{name}");
        }
    }
}
