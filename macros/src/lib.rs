//! The attribute macros of `ringwork`: `#[main]` and `#[test]`.
//!
//! Use them through `ringwork`, which re-exports both. They expand to the public names of
//! `ringwork` and `std` and to nothing else, so whatever a macro does can be written by hand. Apart
//! from the size of a test's runtime they choose nothing: what is not given as an argument is the
//! default of `ringwork::runtime::Builder`. The logic is in `expand`; this file is the door.
#![forbid(unsafe_code)]

mod expand;

use proc_macro::TokenStream;

/// Starts a runtime and runs this `async fn main` on its core 0.
///
/// The future is made on core 0 and never moves, so it need not be `Send`. The calling thread is no
/// core; it waits until the future has ended. What `main` returns becomes the exit code exactly as
/// with a plain `fn main`: with `Result`, an error is printed to stderr and the exit code is 1.
///
/// If the runtime cannot start, the reason is printed to stderr as one line and the process exits
/// with code 1.
///
/// # Arguments
///
/// - `cores = N`: number of cores, at least 1. Without it, the smaller of the CPU mask and the CPU
///   quota.
/// - `pin = "auto" | "each" | "off"`: whether each core's thread is pinned to one CPU. Without it,
///   `"auto"`.
/// - `on_task_panic = "contain" | "shut_down"`: whether the panic of a task ends that task only (as
///   without it), or the runtime: then `main` panics too, with a message that names the task.
/// - `start_paused = true | false`: whether the clock stands from the start, see
///   `ringwork::time::pause`. For tests; needs one core, which is then what is taken without
///   `cores`.
/// - `tokio_context = true | false`: whether there is a tokio runtime beside, for libraries that
///   call one inside, see `ringwork::compat::tokio_context`. Needs ringwork's feature
///   `tokio-context`; without it the compiler says so.
///
/// # Examples
///
/// ```ignore
/// #[ringwork::main]
/// async fn main() -> std::io::Result<()> {
///     let listener = ringwork::net::TcpListener::bind("127.0.0.1:0").await?;
///     println!("listening on {}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// Two cores that the kernel may place where it likes:
///
/// ```ignore
/// #[ringwork::main(cores = 2, pin = "off")]
/// async fn main() {
///     ringwork::spawn(async { println!("on either core") }).await.unwrap();
/// }
/// ```
///
/// Without the macro, the second example reads:
///
/// ```ignore
/// use ringwork::runtime::{Builder, Pin};
///
/// fn main() {
///     match Builder::new().cores(2).pin(Pin::Off).build() {
///         Ok(runtime) => runtime.run_main(|| async {
///             ringwork::spawn(async { println!("on either core") }).await.unwrap();
///         }),
///         Err(error) => {
///             eprintln!("{error}");
///             std::process::exit(1);
///         }
///     }
/// }
/// ```
///
/// On a function that is not `main` the macro does the same and returns what the function returns,
/// which then has to be `Send`. Such a function may have parameters; what is passed goes to core 0, so
/// it has to be `Send` and `'static` too:
///
/// ```ignore
/// #[ringwork::main]
/// async fn run(arguments: Arguments) -> std::io::Result<()> {
///     serve(arguments.listen).await
/// }
///
/// fn main() -> std::io::Result<()> {
///     run(Arguments::parse())
/// }
/// ```
///
/// # Panics
///
/// If it is called by a task, which runs on a core: it would stop everything that core has to do. Move
/// the call into `ringwork::spawn_blocking`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(arguments.into(), item.into()).into()
}

/// Turns an `async fn` into a test that runs on a runtime of its own.
///
/// The runtime has two cores that are not pinned, so that tests which run side by side do not share
/// one CPU while another stands idle. If it cannot start, the test panics with the reason. Other
/// attributes, such as `#[ignore]` and `#[should_panic]`, keep their meaning.
///
/// # Arguments
///
/// The same as for [`main`](macro@main): `cores = N` (2 without it), `pin = "auto" | "each" |
/// "off"` (`"off"` without it), `on_task_panic = "contain" | "shut_down"`, `start_paused = true |
/// false` (with `true` there is one core) and `tokio_context = true | false`.
///
/// # Examples
///
/// ```ignore
/// #[ringwork::test]
/// async fn a_task_hands_back_its_value() {
///     assert_eq!(ringwork::spawn(async { 7 }).await.unwrap(), 7);
/// }
///
/// #[ringwork::test(start_paused = true)]
/// async fn an_hour_passes_in_no_time() {
///     ringwork::time::sleep(std::time::Duration::from_secs(3600)).await;
/// }
///
/// #[ringwork::test(cores = 1)]
/// async fn one_core_is_enough() -> std::io::Result<()> {
///     ringwork::net::TcpListener::bind("127.0.0.1:0").await?;
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::test(arguments.into(), item.into()).into()
}
