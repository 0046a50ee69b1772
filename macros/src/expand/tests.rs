//! What the attributes expand to and what they refuse, checked on token strings.
//!
//! Not here: that the expansion compiles and runs. The tests of `ringwork` use both attributes
//! throughout.

use proc_macro2::TokenStream;
use quote::quote;

/// Tokens as text without spaces: where they stand depends on how a token stream came to be.
fn text(tokens: TokenStream) -> String {
    tokens.to_string().split_whitespace().collect()
}

/// For what the checks of this repository take for unsafe code of its own.
fn tokens(code: &str) -> TokenStream {
    code.parse().expect("balanced tokens")
}

/// Expands, and makes sure that the result is well-formed Rust.
fn expand(macro_name: &str, arguments: TokenStream, item: TokenStream) -> String {
    let expanded = match macro_name {
        "main" => super::main(arguments, item),
        "test" => super::test(arguments, item),
        other => panic!("no macro {other}"),
    };
    syn::parse2::<syn::File>(expanded.clone()).expect("the expansion is a list of items");
    text(expanded)
}

#[track_caller]
fn assert_refused(expansion: &str, message: &str) {
    assert!(expansion.contains("compile_error"), "accepted: {expansion}");
    let message: String = message.split_whitespace().collect();
    assert!(expansion.contains(&message), "{message:?} is not in: {expansion}");
}

#[test]
fn main_without_a_value_runs_on_the_default_runtime() {
    let expected = quote! {
        fn main() {
            async fn main() { work().await; }
            match ::ringwork::runtime::Builder::new().build() {
                ::core::result::Result::Ok(runtime) => runtime.run_main(main),
                ::core::result::Result::Err(error) => {
                    ::std::eprintln!("{}", error);
                    ::std::process::exit(1)
                }
            }
        }
    };
    let expansion = expand("main", quote! {}, quote! { async fn main() { work().await; } });
    assert_eq!(expansion, text(expected));
}

#[test]
fn main_with_a_value_reports_it_on_the_core_that_made_it() {
    let expected = quote! {
        fn main() -> ::std::process::ExitCode {
            async fn main() -> Result<(), Box<dyn Error>> { work().await }
            match ::ringwork::runtime::Builder::new().build() {
                ::core::result::Result::Ok(runtime) => runtime.run_main(
                    || async { ::std::process::Termination::report(main().await) }
                ),
                ::core::result::Result::Err(error) => {
                    ::std::eprintln!("{}", error);
                    ::std::process::exit(1)
                }
            }
        }
    };
    let item = quote! { async fn main() -> Result<(), Box<dyn Error>> { work().await } };
    assert_eq!(expand("main", quote! {}, item), text(expected));
}

#[test]
fn a_function_that_is_not_main_keeps_its_return_type_and_visibility() {
    let expansion = expand("main", quote! {}, quote! { pub(crate) async fn answer() -> u32 { 42 } });
    let head = text(quote! { pub(crate) fn answer() -> u32 });
    assert!(expansion.starts_with(&head), "{expansion}");
    assert!(expansion.contains(&text(quote! { runtime.run_main(answer) })), "{expansion}");
    assert!(!expansion.contains("Termination"), "{expansion}");
}

#[test]
fn parameters_of_a_function_that_is_not_main_are_passed_on_whatever_their_patterns() {
    let item = quote! { async fn sum((a, mut b): (u32, u32), _: String) -> u32 { b += a; b } };
    let expansion = expand("main", quote! {}, item.clone());
    let head = text(quote! { fn sum(argument_0: (u32, u32), argument_1: String) -> u32 });
    assert!(expansion.starts_with(&head), "{expansion}");
    assert!(expansion.contains(&text(item)), "{expansion}");
    let run = text(quote! { runtime.run_main(move || sum(argument_0, argument_1)) });
    assert!(expansion.contains(&run), "{expansion}");
    let test = quote! { async fn works(count: usize) {} };
    assert_refused(&expand("test", quote! {}, test), "cannot have parameters");
}

#[test]
fn arguments_become_builder_calls() {
    let item = quote! { async fn main() {} };
    let cases = [
        (quote! { cores = 3 }, quote! { Builder::new().cores(3).build() }),
        (quote! { cores = 0x10, }, quote! { Builder::new().cores(16).build() }),
        (quote! { pin = "off" }, quote! { Builder::new().pin(::ringwork::runtime::Pin::Off).build() }),
        (quote! { pin = "each" }, quote! { Builder::new().pin(::ringwork::runtime::Pin::Each).build() }),
        (
            quote! { pin = "auto", cores = 1 },
            quote! { Builder::new().cores(1).pin(::ringwork::runtime::Pin::Auto).build() },
        ),
        (quote! { start_paused = true }, quote! { Builder::new().start_paused(true).build() }),
        (
            quote! { start_paused = false, cores = 2 },
            quote! { Builder::new().cores(2).start_paused(false).build() },
        ),
        (
            quote! { tokio_context = true },
            quote! { ::ringwork::__with_tokio_context!(::ringwork::runtime::Builder::new()).build() },
        ),
        (quote! { tokio_context = false }, quote! { Builder::new().build() }),
        (
            quote! { on_task_panic = "shut_down" },
            quote! { Builder::new().on_task_panic(::ringwork::runtime::PanicPolicy::ShutDown).build() },
        ),
    ];
    for (arguments, calls) in cases {
        let expansion = expand("main", arguments, item.clone());
        assert!(expansion.contains(&text(calls.clone())), "{calls} is not in: {expansion}");
    }
}

#[test]
fn a_test_gets_two_cores_that_are_not_pinned() {
    let expected = quote! {
        #[::core::prelude::v1::test]
        #[ignore = "slow"]
        #[should_panic]
        fn works() {
            async fn works() { work().await; }
            match ::ringwork::runtime::Builder::new()
                .cores(2)
                .pin(::ringwork::runtime::Pin::Off)
                .build()
            {
                ::core::result::Result::Ok(runtime) => runtime.run_main(works),
                ::core::result::Result::Err(error) => { ::std::panic!("{}", error) }
            }
        }
    };
    let item = quote! { #[ignore = "slow"] #[should_panic] async fn works() { work().await; } };
    assert_eq!(expand("test", quote! {}, item), text(expected));
}

#[test]
fn a_test_whose_clock_stands_gets_one_core() {
    let item = quote! { async fn works() {} };
    let cases = [(quote! { start_paused = true }, 1), (quote! { start_paused = false }, 2)];
    for (arguments, cores) in cases {
        let expansion = expand("test", arguments, item.clone());
        assert!(expansion.contains(&format!(".cores({cores})")), "{expansion}");
    }
}

#[test]
fn a_test_can_choose_its_cores_and_return_a_result() {
    let item = quote! { async fn works() -> std::io::Result<()> { Ok(()) } };
    let expansion = expand("test", quote! { cores = 4, pin = "each" }, item);
    let calls = text(quote! { .cores(4).pin(::ringwork::runtime::Pin::Each).build() });
    assert!(expansion.contains(&calls), "{expansion}");
    assert!(expansion.contains(&text(quote! { fn works() -> ::std::process::ExitCode })), "{expansion}");
}

#[test]
fn functions_that_cannot_be_an_entry_are_refused() {
    let cases = [
        (quote! { fn main() {} }, "write `async` before `fn`"),
        (quote! { async fn main<T>() {} }, "generic"),
        (quote! { async fn main() where u8: Copy {} }, "`where`"),
        (quote! { async fn main(count: usize) {} }, "cannot have parameters"),
        (quote! { async fn main(&self) {} }, "this is a method"),
        (tokens("async unsafe fn main() {}"), "`unsafe fn`"),
        (quote! { async extern "C" fn main() {} }, "Rust ABI"),
        (quote! { struct Main; }, "goes on an `async fn`"),
    ];
    for (item, message) in cases {
        for macro_name in ["main", "test"] {
            assert_refused(&expand(macro_name, quote! {}, item.clone()), message);
        }
    }
}

#[test]
fn all_faults_of_a_function_are_told_at_once() {
    let expansion = expand("main", quote! {}, quote! { fn main<T>(value: T) {} });
    for message in ["write `async`", "generic", "cannot have parameters"] {
        assert_refused(&expansion, message);
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let cases = [
        (
            quote! { threads = 2 },
            "unknown argument `threads`: expected `cores`, `pin`, `on_task_panic`, `start_paused` or \
             `tokio_context`",
        ),
        (quote! { flavor = "current_thread" }, "write `cores = 1`"),
        (quote! { worker_threads = 4 }, "for tokio's `worker_threads` write `cores`"),
        (quote! { cores = 1, cores = 2 }, "`cores` is given twice"),
        (quote! { cores = 0 }, "at least 1"),
        (quote! { cores = "two" }, "at least 1"),
        (quote! { cores = 99999999999999999999999 }, "at least 1"),
        (quote! { pin = "none" }, "`pin` takes"),
        (quote! { pin = 1 }, "`pin` takes"),
        (quote! { on_task_panic = "abort" }, "`on_task_panic` takes"),
        (quote! { start_paused = 1 }, "`start_paused` takes `true` or `false`"),
        (quote! { cores = 2, start_paused = true }, "`start_paused` needs one core"),
        (quote! { tokio_context = 1 }, "`tokio_context` takes `true` or `false`"),
        (quote! { cores }, "expected `=`"),
        (quote! { cores = 1 pin = "off" }, "expected `,`"),
    ];
    for (arguments, message) in cases {
        for macro_name in ["main", "test"] {
            let expansion = expand(macro_name, arguments.clone(), quote! { async fn main() {} });
            assert_refused(&expansion, message);
        }
    }
}

#[test]
fn a_second_test_attribute_is_refused() {
    let expansion = expand("test", quote! {}, quote! { #[test] async fn works() {} });
    assert_refused(&expansion, "remove `#[test]`");
}

#[test]
fn a_refused_main_leaves_a_stub_and_a_refused_helper_does_not() {
    let stub = text(quote! { fn main() {} });
    let refused = expand("main", quote! { nonsense }, quote! { async fn main() {} });
    assert!(refused.ends_with(&stub), "{refused}");
    let refused = expand("main", quote! { nonsense }, quote! { async fn helper() {} });
    assert!(!refused.contains(&stub), "{refused}");
}
