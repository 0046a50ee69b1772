//! What a task is called and how it is to be treated: fixed at its birth.
//!
//! Owns [`Attributes`], which everything that makes a task takes (the place of the spawn alone will do), and
//! [`Name`]. What a scheduler does for a background task is its own business.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What the spawner says about a task.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    pub(super) spawned_at: &'static Location<'static>,
    pub(super) name: Option<Name>,
    pub(super) background: bool,
    #[cfg(feature = "tracing")]
    pub(super) traced: super::trace::Traced,
}

impl From<&'static Location<'static>> for Attributes {
    /// A task without a name, in the foreground.
    #[inline]
    fn from(spawned_at: &'static Location<'static>) -> Self {
        Self {
            spawned_at,
            name: None,
            background: false,
            #[cfg(feature = "tracing")]
            traced: super::trace::Traced::new(),
        }
    }
}

/// The name of a task, shared with its errors and panics, and with other tasks of one builder.
#[derive(Clone)]
pub(super) struct Name(Arc<Cow<'static, str>>);

impl Name {
    pub(super) fn new(name: Cow<'static, str>) -> Self {
        Self(Arc::new(name))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
