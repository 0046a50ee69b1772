//! Notes what the record of a run says about the build and the run itself cannot find out: the commit, and
//! how it was compiled. Needs neither git nor a repository; without them the commit is unknown.

#[path = "src/report/commit.rs"]
mod commit;

use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace");
    note("COMMIT", &commit::of(root));
    // Run again when the sources change, for then they are no more those of the commit, and when the commit
    // does: that is HEAD, or the branch that it names, or, if that is packed, the log of HEAD.
    let branch = commit::git(root, &["symbolic-ref", "-q", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    let of_git = names.filter_map(|name| commit::git(root, &["rev-parse", "--git-path", name]));
    for path in commit::SOURCES.map(str::to_owned).into_iter().chain(of_git) {
        let path = root.join(path);
        // A path that is not there would be a change each time.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    note_flags();
}

/// What the manifest does not say: which profile it was, and what the environment had to say.
fn note_flags() {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    // The folder of this program's output is in that of the profile: PROFILE/build/…/out.
    let out = PathBuf::from(var("OUT_DIR"));
    let build = out.ancestors().find(|folder| folder.ends_with("build"));
    let folder = build.and_then(|build| build.parent()?.file_name()).unwrap_or_default().to_string_lossy();
    let profile = if folder == "debug" { "dev".into() } else { folder };
    note("PROFILE", &profile);
    note("PROFILE_KIND", &var("PROFILE"));
    note("OPT_LEVEL", &var("OPT_LEVEL"));
    note("RUSTFLAGS", &var("CARGO_ENCODED_RUSTFLAGS").replace('\u{1f}', " "));
    for key in ["LTO", "CODEGEN_UNITS"] {
        let name = format!("CARGO_PROFILE_{}_{key}", profile.to_uppercase().replace('-', "_"));
        println!("cargo::rerun-if-env-changed={name}");
        note(key, &var(&name));
    }
}

/// For `env!` under this name.
fn note(name: &str, value: &str) {
    println!("cargo::rustc-env=RINGWORK_BENCH_{name}={value}");
}
