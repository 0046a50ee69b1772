//! redis-server with one thread, nothing on disk, else its defaults.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{become_it, free_address, installed};
use crate::plan::Plan;
use crate::programs::questions::say;

/// Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    installed("redis-server").map(drop)
}

/// Serves until killed.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let (address, scratch): (_, PathBuf) = (free_address()?, plan.need("scratch")?);
    say(address)?;
    let mut command = Command::new(installed("redis-server").map_err(io::Error::other)?);
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--io-threads", "1"]);
    // It reports on its standard output, which is not read after the address.
    command.arg("--dir").arg(&scratch).arg("--logfile").arg(scratch.join("log"));
    become_it(command)
}
