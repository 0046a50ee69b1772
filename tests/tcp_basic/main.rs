//! TCP as a user sees it: bytes and their order, halves, listeners, stopping, handing the socket over.

mod beside_files;
mod cut;
mod foreign_wakers;
mod halves;
mod handover;
mod headed_files;
#[path = "../kit/mod.rs"]
mod kit;
mod lingering;
mod listening;
mod order;
mod peek;
mod sent_off;
mod serving;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod transfer;
mod untold_files;
mod vectored;
