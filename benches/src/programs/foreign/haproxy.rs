//! HAProxy as a TCP proxy: one process, one thread per core, no logging, else its defaults. Once as it comes,
//! and once with splicing where it sees fit, which its manual recommends for bulk traffic.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{become_it, free_address, installed};
use crate::plan::Plan;
use crate::programs::questions::say;

/// Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    installed("haproxy").map(drop)
}

/// Proxies until killed.
pub(crate) fn plain(plan: &Plan) -> io::Result<()> {
    run(plan, "")
}

/// The same with splicing, of everything: by `splice-auto` HAProxy 2.6 splices none of what comes here.
pub(crate) fn splicing(plan: &Plan) -> io::Result<()> {
    run(plan, "    option splice-request\n    option splice-response\n")
}

fn run(plan: &Plan, options: &str) -> io::Result<()> {
    let (address, upstream): (_, SocketAddr) = (free_address()?, plan.need("upstream")?);
    let file = plan.need::<PathBuf>("scratch")?.join("haproxy.cfg");
    let configuration = format!(
        "global\n    nbthread {}\n    maxconn 4000\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\
         {options}\
         listen proxy\n    bind {address}\n    server upstream {upstream}\n",
        plan.cores()?
    );
    fs::write(&file, configuration)?;
    say(address)?;
    let mut command = Command::new(installed("haproxy").map_err(io::Error::other)?);
    command.args(["-db", "-q", "-f"]).arg(&file);
    become_it(command)
}
