//! Hands the version of the compiler to the program that is compiled: counts are those of one compiler.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var("RUSTC").expect("cargo says which compiler it uses");
    let output = Command::new(&rustc).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{rustc} --version: {error}"));
    println!("cargo:rustc-env=RUSTC_VERSION={}", String::from_utf8_lossy(&output.stdout).trim());
    println!("cargo:rustc-env=BUILT_FOR={}", env::var("TARGET").expect("cargo says what for"));
    println!("cargo:rustc-env=OPT_LEVEL={}", env::var("OPT_LEVEL").expect("cargo says how well"));
}
