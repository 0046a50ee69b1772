//! Holds the house up: sizes, headers, unsafe rooms, layers, dead files, leftovers and links, as
//! tests.
//!
//! Each check reads the whole repository and lists every offending place at once. The checks read
//! text, not syntax trees, and lean on the shape rustfmt gives; each proves on made-up files that
//! it sees what it is there to see. What the compiler or clippy can check is left to them.
#![forbid(unsafe_code)]

mod behaviours;
mod layers;
mod leftovers;
mod limits;
mod links;
mod modules;
mod repo;
mod safety;
mod scan;

use repo::Repo;
use std::sync::LazyLock;

static REPO: LazyLock<Repo> = LazyLock::new(Repo::load);

/// Fails with every finding, each on a line of its own.
#[track_caller]
fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} to mend:\n{}\n", findings.len(), findings.join("\n"));
}

#[test]
fn the_walk_sees_the_repository() {
    for file in ["src/lib.rs", "macros/src/lib.rs", "tests/tidy/main.rs"] {
        assert!(REPO.source(file).is_some(), "{file} was not read");
    }
    assert!(REPO.is_file("Cargo.toml") && REPO.text("Cargo.toml").is_some());
    assert!(REPO.text("CHANGELOG.md").is_some());
}

#[test]
fn files_are_short() {
    report(limits::file_lengths(&REPO));
}

#[test]
fn functions_are_short() {
    report(limits::function_lengths(&REPO));
}

#[test]
fn lines_are_short() {
    report(limits::line_lengths(&REPO));
}

#[test]
fn files_open_with_a_header() {
    report(limits::headers(&REPO));
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    report(safety::undocumented(&REPO));
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    report(safety::outside_rooms(&REPO));
}

#[test]
fn safe_files_forbid_unsafe_code() {
    report(safety::not_forbidden(&REPO));
}

#[test]
fn files_import_only_downwards() {
    report(layers::upward_imports(&REPO));
}

#[test]
fn task_ring_and_time_meet_in_one_file() {
    report(layers::meetings(&REPO));
}

#[test]
fn every_file_is_part_of_a_crate() {
    report(modules::unreferenced(&REPO));
}

#[test]
fn nothing_is_left_over() {
    report(leftovers::leftovers(&REPO));
}

#[test]
fn links_lead_somewhere() {
    report(links::broken(&REPO));
}

#[test]
fn mentioned_kernel_notes_exist() {
    report(links::missing_notes(&REPO));
}

#[test]
fn every_behaviour_is_held_by_a_test_that_exists() {
    report(behaviours::unheld(&REPO));
}
