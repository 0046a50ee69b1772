//! The HTTP server for make-services: what clients get, what a bad one can do, and how it ends.

#[path = "../../../support/mod.rs"]
mod support;

#[macro_use]
mod kit;
mod at_once;
mod ending;
mod limits;
mod serving;
