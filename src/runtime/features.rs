//! What the attribute macros ask of features that may be off.
//!
//! Owns the answer of the compiler then: one line that names the feature. The macros cannot give it, because
//! they are a crate of their own and do not know the features of this one. For people there is the builder.
#![forbid(unsafe_code)]

/// The builder with `tokio_context` called.
#[cfg(feature = "tokio-context")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokio_context {
    ($builder:expr) => {
        $builder.tokio_context()
    };
}

/// No builder.
#[cfg(not(feature = "tokio-context"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokio_context {
    ($builder:expr) => {
        ::core::compile_error!(
            "`tokio_context` needs ringwork's feature `tokio-context`, which is off: turn it on in \
             Cargo.toml, or by `cargo add ringwork --features tokio-context`"
        )
    };
}
