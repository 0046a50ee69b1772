//! The `file_server` example as its users meet it: real sockets, a real process, real signals.
//!
//! Clients are std sockets that can be made to say anything: nothing of ringwork judges ringwork. Each test
//! has a folder and a server of its own. What needs no socket (parsing, ranges, escaping) has its many cases
//! in the example's own unit tests; here is what only the whole program can get wrong.

mod changes;
mod conditionals;
mod confinement;
mod connections;
mod data;
mod descriptors;
mod folders;
mod http;
#[path = "../programs/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, each uses a part")]
mod programs;
mod ranges;
mod resources;
mod site;
mod starting;
mod statuses;
mod stopping;
mod time_limits;
