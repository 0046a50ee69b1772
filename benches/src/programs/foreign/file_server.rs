//! `examples/file_server` of ringwork as it is: the program, on one core, with its cache of open files or
//! without. It is no part of this package, so it is built when a run needs it: what lies there may be of
//! another commit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{become_it, find, free_address};
use crate::plan::Plan;
use crate::programs::questions::say;
use crate::progress;

/// The workspace, where it was when this was built.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// Builds it, once in a run. Why it is left out, if so.
pub(crate) fn look() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(build).clone()
}

fn build() -> Result<(), String> {
    if cfg!(not(feature = "ringwork")) {
        return Err("this build leaves ringwork out".to_owned());
    }
    let failed = |error: io::Error| format!("building it: {error}");
    let binary = binary().map_err(failed)?;
    let folder = folder().map_err(failed)?;
    let (Some(target), Some(profile)) = (folder.parent(), folder.file_name()) else {
        return Err(format!("{} is no folder that cargo builds in", folder.display()));
    };
    // The folder of one profile has a name of its own.
    let profile = if profile == "debug" { "dev".to_owned() } else { profile.to_string_lossy().into_owned() };
    let words = format!("cargo build --profile {profile} --example file_server");
    let cargo = std::env::var_os("CARGO").map(PathBuf::from).or_else(|| find("cargo"));
    let Some(cargo) = cargo.filter(|_| Path::new(MANIFEST).is_file()) else {
        let harness = std::env::current_exe().map_err(failed)?;
        return no_older_than(&harness, &binary).map_err(|why| format!("{why}: {words}"));
    };
    progress::step(&format!("building examples/file_server: {words}"));
    let mut command = Command::new(cargo);
    // As it was for this program: versions of packages are those of the record.
    command.args(["build", "--locked", "--quiet", "--example", "file_server", "--profile", &profile]);
    command.args(["--manifest-path", MANIFEST, "--target-dir"]).arg(target);
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{words} failed: {}", said.lines().last().unwrap_or("it says nothing")))
}

/// Where nothing can be built: what was built before the harness was may be of other sources.
fn no_older_than(harness: &Path, binary: &Path) -> Result<(), String> {
    let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    match (made(binary), made(harness)) {
        (Err(_), _) => Err("there is no cargo to build it, and it is not built".to_owned()),
        (Ok(binary), Ok(harness)) if binary >= harness => Ok(()),
        _ => Err("there is no cargo to build it, and what is there is older than the harness".to_owned()),
    }
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
    Ok(folder()?.join("examples").join("file_server"))
}

/// Where cargo has put this program.
fn folder() -> io::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_program_from_before_the_harness_is_refused() {
        let folder = std::env::temp_dir().join(format!("ringwork-bench-older-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        let (harness, binary) = (folder.join("harness"), folder.join("binary"));
        let write = |path: &Path, age| {
            let file = fs::File::create(path).expect("it can be written");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("its time can be set");
        };
        write(&harness, 10);
        assert!(no_older_than(&harness, &binary).unwrap_err().contains("not built"));
        write(&binary, 20);
        assert!(no_older_than(&harness, &binary).unwrap_err().contains("older than the harness"));
        write(&binary, 5);
        assert_eq!(no_older_than(&harness, &binary), Ok(()));
        fs::remove_dir_all(&folder).expect("it was ours");
    }
}
