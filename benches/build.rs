//! Notes what the record of a run says about the build and the run itself cannot find out: the commit. Needs
//! neither git nor a repository; without them the commit is unknown.

#[path = "src/report/commit.rs"]
mod commit;

use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace");
    println!("cargo::rustc-env=RINGWORK_BENCH_COMMIT={}", commit::of(root));
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
}
