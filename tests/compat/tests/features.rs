//! The features of the crate, and of the package beside this one that builds it with all of them. That each
//! builds alone is looked at by `.ci/features`.

use std::path::Path;

#[test]
fn no_feature_is_on_unless_asked_for_and_each_is_in_the_package_that_has_all() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let features = |manifest: &str| -> Vec<String> {
        let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned());
        names.collect()
    };
    let (main, all) = (features(&read("../../Cargo.toml")), features(&read("ringwork/Cargo.toml")));
    assert!(!main.is_empty() && !main.contains(&"default".to_owned()), "a feature is opt-in");
    let all: Vec<String> = all.into_iter().filter(|name| name != "default").collect();
    assert_eq!(main, all, "the package that builds everything has every feature");
}
