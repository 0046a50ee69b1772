//! Runs the models that the library exports; quick ones by default, deep ones with `--ignored`.
