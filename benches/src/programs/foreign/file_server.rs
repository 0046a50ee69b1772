//! `examples/file_server` of ringwork as it is: the program, on one core, with its cache of open files or
//! without. It is built apart from this package.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{become_it, free_address};
use crate::plan::Plan;
use crate::programs::questions::say;

/// Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    let binary = binary().map_err(|error| error.to_string())?;
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    let how = format!("it is not built: cargo build{profile} --example file_server");
    if binary.is_file() { Ok(()) } else { Err(how) }
}

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let address = free_address()?;
    say(address)?;
    let mut command = Command::new(binary()?);
    command.arg("--root").arg(plan.need::<PathBuf>("root")?);
    command.args(["--listen", &address.to_string(), "--cores", &plan.cores()?.to_string()]);
    // Seconds: longer than any turn, or not at all.
    command.args(["--cache", if plan.is_set("cache")? { "600" } else { "0" }]);
    become_it(command)
}

/// Where cargo puts examples.
fn binary() -> io::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    Ok(folder.join("examples").join("file_server"))
}
