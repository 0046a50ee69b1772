//! An async runtime for Linux: one pinned thread, one io_uring and one run queue per core.
//!
//! # Words
//! - A **core** is a worker thread with its **ring** (an io_uring). `Builder` starts them; the caller's
//!   thread is never one.
//! - An **op** is one request to the kernel. What it owns while in flight is its **cell**; result and waker
//!   meet in a **slot**.
//! - A **task** is a spawned future. Tasks that are not `Send` wait in a core's **local queue** and never
//!   leave it; `Send` tasks wait in its **steal queue**, from which a **hungry** core (idle past a threshold)
//!   may take them.
//! - The **inbox** is the only way into a core from outside; its **doorbell** wakes a core that is
//!   **parked**. The **injector** takes what does not fit a steal queue. The **blocking pool** runs calls
//!   that block.
//!
//! # A first program
//! ```
//! use ringwork::net::{TcpListener, TcpStream};
//!
//! #[ringwork::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let client = ringwork::spawn(async move {
//!         let stream = TcpStream::connect(address).await?;
//!         stream.send_all("ping").await.0
//!     });
//!     let (stream, _) = listener.accept().await?;
//!     assert_eq!(&stream.recv_pooled().await?[..], b"ping");
//!     client.await?
//! }
//! ```
//!
//! # Promises
//! - A dropped op never lets the kernel touch freed memory and never leaks a descriptor.
//! - Dropping a receive loses no byte; dropping a send cuts no message while its stream lives: it leaves
//!   whole, or, if it had not begun, not at all. (`recv_exact` and `send_file` say what they do instead.)
//! - A task that is not `Send` never moves. A panic ends one task.
//! - Every source of work (queues, inbox, injector, completions, timers) is visited within a stated bound.
//! - Starting fails with one line that names cause and cure, or ops work.
//!
//! # Features
//! None is on by default, and each only adds.
//!
//! | feature | what it adds |
//! |---|---|
//! | `tokio-io`, `futures-io` | their traits for streams and files, in `compat` |
//! | `hyper`, `hyper-util` | hyper's traits, executors, timer, and connectors, in `compat::hyper` |
//! | `tower`, `axum`, `tonic` | servers on every core, and gRPC, in `compat` |
//! | `tokio-context` | a tokio runtime beside, for libraries that call one inside: `compat::tokio_context` |
//! | `tls` | encrypted streams over rustls: `tls` |
//! | `tracing` | tasks, wakers, ops and timers as spans and events: [`seeing`] |
//!
//! # Moving over from tokio
//! Names and meaning are tokio's where they can be. What differs: `recv` and `send` take a buffer and give it
//! back (`let (result, buf) = stream.recv(buf).await`), and there is no `block_in_place`. With the feature
//! `tokio-io` a program needs little more than other imports: [`bringing`] has the steps, the names and the
//! differences. Libraries that call tokio's runtime inside run with the feature `tokio-context`.
#![warn(rust_2018_idioms)]

mod base;
mod blocking;
pub mod buf;
#[cfg(any(feature = "tokio-io", feature = "futures-io", feature = "hyper", feature = "tokio-context"))]
pub mod compat;
pub mod core;
pub mod fs;
pub mod io;
mod metrics;
pub mod net;
pub mod process;
mod ring;
pub mod runtime;
mod sched;
mod serve;
pub mod signal;
mod sys;
pub mod task;
pub mod thread;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;

#[doc = include_str!("design.md")]
pub mod design {}

// Its example needs a feature: tests/compat runs it.
#[cfg_attr(not(doctest), doc = include_str!("bringing.md"))]
#[cfg_attr(doctest, doc = "Bringing your tokio program.")]
pub mod bringing {}

#[doc = include_str!("seeing.md")]
pub mod seeing {}

/// The README's program, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub use metrics::{CoreMetrics, LaneMetrics, Metrics};
pub use ringwork_macros::{main, test};
pub use runtime::{spawn, spawn_blocking, spawn_heavy, spawn_local, spawn_local_eager, spawn_on};
pub use serve::{Balance, Serve, Server, serve_per_core};
