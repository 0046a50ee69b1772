//! Go's net and goroutines: `go/main.go` of this package, built where a Go toolchain is found, once for each
//! version of the source.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{become_it, installed};
use crate::plan::Plan;

const SOURCE: &str = include_str!("../../../go/main.go");

/// Builds it unless that has been done. Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    let go = installed("go")?;
    let failed = |error: io::Error| format!("building it: {error}");
    let binary = binary().map_err(failed)?;
    if binary.is_file() {
        return Ok(());
    }
    let source = binary.with_extension("go");
    fs::write(&source, SOURCE).map_err(failed)?;
    let output = Command::new(go).args(["build", "-o"]).args([&binary, &source]).output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("go build failed: {}", said.lines().last().unwrap_or("it says nothing")))
}

/// Echoes until killed.
pub(crate) fn echo(plan: &Plan) -> io::Result<()> {
    run(plan, "echo")
}

/// Proxies until killed.
pub(crate) fn proxy(plan: &Plan) -> io::Result<()> {
    run(plan, "proxy")
}

/// Sends until killed.
pub(crate) fn source(plan: &Plan) -> io::Result<()> {
    run(plan, "source")
}

/// Beside the executable, under a name that changes with the source.
fn binary() -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    Ok(std::env::current_exe()?.with_file_name(format!("ringwork-bench-go-{:08x}", hasher.finish() as u32)))
}

fn run(plan: &Plan, role: &str) -> io::Result<()> {
    let mut command = Command::new(binary()?);
    command.env("GOMAXPROCS", plan.cores()?.to_string());
    command.args([role, &plan.listen()?.to_string(), &plan.buffer()?.to_string()]);
    if let Some(upstream) = plan.value::<SocketAddr>("upstream")? {
        command.arg(upstream.to_string());
    }
    become_it(command)
}
