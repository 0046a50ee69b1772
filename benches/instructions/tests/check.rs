//! The check passes if nothing has changed and fails if something has: as a program, against baselines of its
//! own.
#![cfg(all(target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Two that are counted quickly, on one thread and by another one.
const PATHS: &str = "spawn-local,wake-remote-local";

fn program(words: &[&str], baseline: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwork-instructions"));
    command.args(words).arg("--baseline").arg(baseline);
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code(), text.into_owned())
}

/// A baseline that was just made, in a file of this name.
fn blessed(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_file(&file).ok();
    let (code, text) = program(&["bless", "--only", PATHS], &file);
    assert_eq!(code, Some(0), "{text}");
    file
}

/// The same with one thing changed.
fn edited(name: &str, edit: impl Fn(&str) -> String) -> PathBuf {
    let file = blessed(name);
    let text = fs::read_to_string(&file).expect("it has been written");
    let after = edit(&text);
    assert_ne!(text, after, "something is changed");
    fs::write(&file, after).expect("it can be written");
    file
}

fn with_another_compiler(text: &str) -> String {
    let lines =
        text.lines().map(|line| if line.starts_with("rustc: ") { "rustc: rustc 1.0.0" } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_costs_as_before_passes_and_a_tenth_more_fails_by_name() {
    let file = blessed("tenth.txt");
    let (code, text) = program(&["check", "--only", PATHS], &file);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = program(&["check", "--only", PATHS, "--extra", "1"], &file);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = program(&["check", "--only", PATHS, "--extra", "10"], &file);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("DEARER: spawn-local, wake-remote-local"), "{text}");
}

#[test]
fn a_read_modify_write_more_fails() {
    let file = edited("rmws.txt", |text| {
        let lines = text.lines().map(|line| match line.strip_prefix("wake-remote-local") {
            Some(counts) => {
                let instructions = counts.split_whitespace().next().expect("two counts");
                format!("wake-remote-local {instructions} 1\n")
            }
            None => format!("{line}\n"),
        });
        lines.collect()
    });
    let (code, text) = program(&["check", "--only", PATHS], &file);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("DEARER: wake-remote-local ("), "{text}");
}

#[test]
fn another_compiler_is_said_and_only_much_more_fails() {
    let file = edited("compiler.txt", with_another_compiler);
    let (code, text) = program(&["check", "--only", PATHS, "--extra", "10"], &file);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("NOTE") && text.contains("rustc 1.0.0") && text.contains("bless"), "{text}");
    let (code, text) = program(&["check", "--only", PATHS, "--extra", "40"], &file);
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn a_path_on_one_side_only_fails() {
    let file = edited("renamed.txt", |text| text.replace("spawn-local ", "spawn-loyal "));
    let (code, text) = program(&["check", "--only", PATHS], &file);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NOT IN THE BASELINE: spawn-local"), "{text}");
    assert!(text.contains("ONLY IN THE BASELINE: spawn-loyal"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let file = edited("optimised.txt", |text| text.replace("opt-level: ", "opt-level: 1"));
    let (code, text) = program(&["check", "--only", PATHS], &file);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = program(&["check", "--only", PATHS], &file.with_file_name("nothing.txt"));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_profile_names_the_functions_of_the_path() {
    let file = blessed("profile.txt");
    let (code, text) = program(&["profile", "spawn-local"], &file);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ringwork::"), "{text}");
}
