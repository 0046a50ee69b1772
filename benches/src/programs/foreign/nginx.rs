//! nginx as a server of static files: a worker process per core, no logging, connections kept for ever; once
//! with `sendfile` and once without, each with its cache of open files or without.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

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
    let (workers, reuse) = workers(plan)?;
    let configuration = format!(
        "daemon off; {workers}\n\
         pid {folder}/pid; error_log {folder}/error crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n    access_log off; {way} {cache}\n\
         keepalive_timeout 600s; keepalive_requests 1000000000; default_type application/octet-stream;\n\
         client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
         uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         server {{ listen {address} backlog=4096{reuse}; root {}; }}\n}}\n",
        root.display()
    );
    fs::write(&file, configuration)?;
    say(address)?;
    let mut command = Command::new(installed("nginx").map_err(io::Error::other)?);
    command.args(["-e", "stderr", "-p"]).arg(&scratch).arg("-c").arg(&file);
    become_it(command)
}

/// What says how many processes serve, and what is added to their listener. Alone, the process that is
/// started serves by itself; several are its children, pinned and with a listener each, like the threads of
/// others.
fn workers(plan: &Plan) -> io::Result<(String, &'static str)> {
    let cores = plan.cores()?;
    if cores == 1 {
        return Ok(("master_process off; worker_processes 1;".to_owned(), ""));
    }
    // It ends its workers only if it is told in a way that it can hear.
    set_pdeathsig(Signal::SIGTERM)?;
    let masks: Vec<String> = plan.cpus()?.unwrap_or_default().iter().map(|cpu| mask(*cpu)).collect();
    let pinned = if masks.len() == cores {
        format!(" worker_cpu_affinity {};", masks.join(" "))
    } else {
        String::new()
    };
    Ok((format!("worker_processes {cores};{pinned}"), " reuseport"))
}

/// A CPU as nginx is told of it: a digit for each, the first one last.
fn mask(cpu: usize) -> String {
    format!("1{}", "0".repeat(cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_workers_are_pinned_to_their_cpus() {
        let plan = Plan::default().with("cores", 2).with("cpu", "0,3");
        let (workers, _) = workers(&plan).expect("a plan that makes sense");
        assert_eq!(workers, "worker_processes 2; worker_cpu_affinity 1 1000;");
    }
}
