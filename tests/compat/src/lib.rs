//! The guides of `ringwork::compat`, compiled and run: their examples need what users of those features
//! have, and what the main crate is not to depend on.

/// The poll-shaped traits.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/guide.md")]
pub struct Guide;

/// hyper.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/hyper/guide.md")]
pub struct HyperGuide;

/// How a program written for tokio is brought here.
#[cfg(doctest)]
#[doc = include_str!("../../../src/bringing.md")]
pub struct Bringing;

/// Serving services of tower.
#[cfg(doctest)]
#[doc = include_str!("../../../src/compat/tower/guide.md")]
pub struct TowerGuide;
