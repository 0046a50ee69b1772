//! `ringwork-instructions`: how many instructions and atomic read-modify-writes the hot paths of ringwork
//! take, and a check that they do not become more. See the README beside this package. This file says where
//! it works.
#![cfg_attr(not(all(target_arch = "x86_64", target_env = "gnu")), forbid(unsafe_code))]

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod program;

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn main() -> ExitCode {
    program::main()
}

#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
fn main() -> ExitCode {
    eprintln!("ringwork-instructions: counts by the trap flag of x86-64, with glibc, and there is none here");
    ExitCode::from(2)
}
