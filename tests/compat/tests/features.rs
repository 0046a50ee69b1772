//! Each feature builds alone: none needs another, and what no feature asks for is not built.

use std::path::Path;
use std::process::Command;

/// `cargo check` of the library with these features, in a target folder of its own, because cargo holds the
/// usual one while tests are built.
fn check(features: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--package", "ringwork", "--lib", "--features", features])
        .env("CARGO_TARGET_DIR", root.join("target/features"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&root)
        .output()
        .expect("cargo runs");
    let words = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && words.is_empty(), "features [{features}]: {words}");
}

#[test]
fn each_feature_builds_alone_and_without_a_warning() {
    for features in ["", "tokio-io", "futures-io", "hyper", "hyper-util"] {
        check(features);
    }
}

#[test]
fn no_feature_is_on_unless_asked_for_and_each_is_tested() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let features = |manifest: &str| -> Vec<String> {
        let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned());
        names.collect()
    };
    let (main, all) = (features(&read("../../Cargo.toml")), features(&read("ringwork/Cargo.toml")));
    assert!(!main.contains(&"default".to_owned()), "a feature is opt-in");
    let all: Vec<String> = all.into_iter().filter(|name| name != "default").collect();
    assert_eq!(main, all, "the package that builds everything has every feature");
    assert_eq!(main, ["tokio-io", "futures-io", "hyper", "hyper-util"], "each of them is checked above");
}
