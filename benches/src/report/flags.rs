//! How the programs under measurement were compiled: the profile as the manifest of the workspace has it, and
//! what the environment of the build said otherwise.

/// The manifest as it was at build time.
const MANIFEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));

/// All of it, in one line.
pub(crate) fn line() -> String {
    let profile = env!("RINGWORK_BENCH_PROFILE");
    // As cargo has it where nobody says anything.
    let (units, panic) =
        (if env!("RINGWORK_BENCH_PROFILE_KIND") == "release" { "16" } else { "256" }, "unwind");
    let said = |key: &str, by_environment: &str, otherwise: &str| {
        let by_environment = (!by_environment.is_empty()).then(|| by_environment.to_owned());
        let found = by_environment.or_else(|| setting(MANIFEST, profile, key));
        format!("{key} {}", found.unwrap_or_else(|| otherwise.to_owned()))
    };
    let flags = [
        format!("profile {profile}"),
        format!("opt-level {}", env!("RINGWORK_BENCH_OPT_LEVEL")),
        said("lto", env!("RINGWORK_BENCH_LTO"), "false"),
        said("codegen-units", env!("RINGWORK_BENCH_CODEGEN_UNITS"), units),
        said("panic", "", panic),
        format!(
            "RUSTFLAGS {}",
            Some(env!("RINGWORK_BENCH_RUSTFLAGS")).filter(|f| !f.is_empty()).unwrap_or("none")
        ),
        // `counting.rs`; the file server has the same by default.
        "allocator system".to_owned(),
    ];
    flags.join(", ")
}

/// What `manifest` says about `key` in a profile, or in the one that this inherits from.
fn setting(manifest: &str, profile: &str, key: &str) -> Option<String> {
    let header = format!("[profile.{profile}]");
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    let section: Vec<&str> = lines.take_while(|line| !line.starts_with('[')).collect();
    let value = |key: &str| {
        let entries = section.iter().filter_map(|line| line.split_once('='));
        let found = entries.filter(|(name, _)| name.trim() == key).map(|(_, value)| value).next()?;
        Some(found.split('#').next().unwrap_or_default().trim().trim_matches('"').to_owned())
    };
    value(key).or_else(|| setting(manifest, &value("inherits")?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_own_settings_and_those_that_it_inherits() {
        let manifest = "[profile.release]\nlto = \"thin\" # as a word\ncodegen-units=4\n\n\
                        [profile.release.package.a]\nopt-level = 1\n\n\
                        [profile.fat]\ninherits = \"release\"\nlto = \"fat\"\n";
        let of = |profile, key| setting(manifest, profile, key);
        assert_eq!(of("release", "lto").as_deref(), Some("thin"));
        assert_eq!(of("release", "opt-level"), None);
        assert_eq!(of("fat", "lto").as_deref(), Some("fat"));
        assert_eq!(of("fat", "codegen-units").as_deref(), Some("4"));
        assert_eq!(of("dev", "lto"), None);
    }

    #[test]
    fn the_line_names_what_changes_the_code() {
        let line = line();
        for key in ["opt-level ", "lto ", "codegen-units ", "panic ", "RUSTFLAGS ", "allocator system"] {
            assert!(line.contains(key), "{key} is missing in {line}");
        }
    }
}
