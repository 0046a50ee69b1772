//! Files through the ring: contents, options, errors, confinement, and nothing leaked on the way.

#[path = "../kit/mod.rs"]
mod kit;

mod anywhere;
mod confinement;
mod content;
mod devices;
mod errors;
mod fifo;
mod leaks;
mod locks;
mod names;
mod ported;
mod room;
mod terminals;

/// Bytes of which no two aligned words are alike.
fn pattern(len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).flat_map(|n| (n ^ 0x5bd1_e995_0000_0000).to_le_bytes());
    words.take(len).collect()
}
