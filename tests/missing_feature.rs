//! What the compiler says to a program that asks for a part of ringwork whose feature it has not turned on.
//!
//! The program is a package of its own, because features are those of a package. It is checked, not built,
//! with a target folder that is kept from run to run, and without the network: the lock file is this
//! workspace's.

use std::fs;
use std::path::Path;
use std::process::Command;

const CURE: &str = "`tokio_context` needs ringwork's feature `tokio-context`, which is off: \
    turn it on in Cargo.toml, or by `cargo add ringwork --features tokio-context`";

/// The errors of checking a package with this program in it, tests included: one line each.
fn errors(program: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing_feature");
    fs::create_dir_all(package.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nringwork = {{ path = {root:?} }}\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::write(package.join("src/main.rs"), program).unwrap();
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let check = ["check", "--quiet", "--offline", "--tests", "--message-format", "short", "--color", "never"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(check).current_dir(&package).env("CARGO_TARGET_DIR", package.join("target"));
    let output = cargo.output().expect("cargo starts");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "the program was accepted:\n{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("error")).collect();
    let (last, errors) = errors.split_last().expect("what failed says so");
    assert!(last.starts_with("error: could not compile `program`"), "{said}");
    errors.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn an_argument_whose_feature_is_off_names_the_feature_and_how_to_turn_it_on() {
    let program = "#[ringwork::main(cores = 1, tokio_context = true)]
async fn main() {}

#[ringwork::test(tokio_context = true)]
async fn works() {}

#[ringwork::test(tokio_context = false)]
async fn needs_nothing() {}
";
    let expected = [format!("src/main.rs:1:29: error: {CURE}"), format!("src/main.rs:4:18: error: {CURE}")];
    assert_eq!(errors(program), expected);
}
