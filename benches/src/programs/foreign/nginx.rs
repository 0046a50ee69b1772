//! nginx as a server of static files: one process, no logging, connections kept for ever; once with
//! `sendfile` and once without, each with its cache of open files or without.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{become_it, free_address, installed};
use crate::plan::Plan;
use crate::programs::questions::say;

/// Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    installed("nginx").map(drop)
}

/// Reads and writes.
pub(crate) fn copying(plan: &Plan) -> io::Result<()> {
    run(plan, "sendfile off;")
}

/// Lets the kernel send.
pub(crate) fn sending(plan: &Plan) -> io::Result<()> {
    run(plan, "sendfile on; tcp_nopush on;")
}

fn run(plan: &Plan, way: &str) -> io::Result<()> {
    let (address, root): (_, PathBuf) = (free_address()?, plan.need("root")?);
    let scratch: PathBuf = plan.need("scratch")?;
    let (file, folder) = (scratch.join("nginx.conf"), scratch.display());
    let cache = if plan.is_set("cache")? {
        "open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;"
    } else {
        "open_file_cache off;"
    };
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1;\n\
         pid {folder}/pid; error_log {folder}/error crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n    access_log off; {way} {cache}\n\
         keepalive_timeout 600s; keepalive_requests 1000000000; default_type application/octet-stream;\n\
         client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
         uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         server {{ listen {address} backlog=4096; root {}; }}\n}}\n",
        root.display()
    );
    fs::write(&file, configuration)?;
    say(address)?;
    let mut command = Command::new(installed("nginx").map_err(io::Error::other)?);
    command.args(["-e", "stderr", "-p"]).arg(&scratch).arg("-c").arg(&file);
    become_it(command)
}
