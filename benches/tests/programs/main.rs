//! The programs under measurement do the work they claim: an echo that loses bytes or a proxy that swallows
//! an end of stream would be fast and worthless.

mod echoes;
mod files;
mod kit;
mod proxies;
mod sources;
mod stores;
