//! What the two attributes expand to, as functions from tokens to tokens.
//!
//! Owns the argument grammar, the checks on the annotated function and the generated code. Promises
//! that the output names only public items of `ringwork`, `core` and `std`, by absolute path, and
//! that no name it introduces can be seen by the function's body. One of them is hidden: only
//! `ringwork` knows which of its features are on, and says so if an argument's is not. It is not the
//! place for defaults of the runtime: those belong to the builder.
//!
//! The annotated function stays an `async fn` of the same name, nested in a plain one:
//!
//! ```text
//! fn main() -> Ret {
//!     async fn main() -> Ret { body }
//!     match Builder::new().build() { Ok(runtime) => runtime.run_main(main), Err(error) => .. }
//! }
//! ```
//!
//! so that types are inferred, lints are applied and errors are shown as if the macro were not
//! there. Where the return value is for the process or the test harness, it is turned into an
//! `ExitCode` on the core that made it, because `Box<dyn Error>` is not `Send` and could not leave.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, Lit, LitInt, LitStr, Result, ReturnType, Token, Type};

/// Number of cores a test gets: enough for a task to be somewhere else, few enough to run many
/// tests at once.
const TEST_CORES: usize = 2;

/// The attribute of programs, in messages.
const MAIN: &str = "#[ringwork::main]";

/// Expands `#[ringwork::main]`.
pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // On an error a stub takes the place of `main`, so that the compiler does not add that there is
    // none.
    let stub = names_main(item.clone()).then(|| quote! { fn main() {} });
    match parse(MAIN, arguments, item) {
        Ok((settings, function)) => expand_main(&settings, &function),
        Err(error) => {
            let message = error.into_compile_error();
            quote! { #message #stub }
        }
    }
}

/// Expands `#[ringwork::test]`.
pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = parse("#[ringwork::test]", arguments, item);
    match parsed.and_then(|(settings, function)| no_second_test(&function).map(|()| (settings, function))) {
        Ok((settings, function)) => expand_test(settings, &function),
        Err(error) => error.into_compile_error(),
    }
}

fn expand_main(settings: &Settings, function: &ItemFn) -> TokenStream {
    let start_failed = quote_spanned! { Span::mixed_site()=>
        ::std::eprintln!("{}", error);
        ::std::process::exit(1)
    };
    let exits = function.sig.ident == "main";
    wrap(settings, function, &TokenStream::new(), exits, &start_failed)
}

fn expand_test(mut settings: Settings, function: &ItemFn) -> TokenStream {
    let cores = if settings.is_paused() { 1 } else { TEST_CORES };
    settings.cores.get_or_insert_with(|| Literal::usize_unsuffixed(cores));
    settings.pin.get_or_insert_with(|| Ident::new("Off", Span::call_site()));
    let marker = quote! { #[::core::prelude::v1::test] };
    let start_failed = quote_spanned! { Span::mixed_site()=> ::std::panic!("{}", error) };
    wrap(&settings, function, &marker, true, &start_failed)
}

/// The plain function around the asynchronous one. `exits` says that the return value is an exit
/// code to be.
fn wrap(
    settings: &Settings,
    function: &ItemFn,
    marker: &TokenStream,
    exits: bool,
    start_failed: &TokenStream,
) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = function;
    let (name, output) = (&sig.ident, &sig.output);
    let builder = settings.builder();
    // Under names of their own, because the function's may be patterns.
    let (given, types): (Vec<Ident>, Vec<&Type>) = typed(function)
        .enumerate()
        .map(|(index, value)| (Ident::new(&format!("argument_{index}"), Span::mixed_site()), value))
        .unzip();
    let inputs = &sig.inputs;
    let (outer, run) = match output {
        ReturnType::Type(_, value) if exits => {
            // Shown at the return type, in case it has no exit code.
            let at = Span::mixed_site().located_at(value.span());
            let report = quote_spanned! { at=> ::std::process::Termination::report };
            (quote! { -> ::std::process::ExitCode }, quote! { || async { #report(#name().await) } })
        }
        _ if given.is_empty() => (quote! { #output }, quote! { #name }),
        _ => (quote! { #output }, quote! { move || #name(#(#given),*) }),
    };
    // Mixed-site names are invisible to the body, which keeps the spans of the user's own tokens.
    quote_spanned! { Span::mixed_site()=>
        #marker
        #(#attrs)*
        #vis fn #name(#(#given: #types),*) #outer {
            async fn #name(#inputs) #output #block
            match #builder.build() {
                ::core::result::Result::Ok(runtime) => runtime.run_main(#run),
                ::core::result::Result::Err(error) => { #start_failed }
            }
        }
    }
}

/// The types of the function's parameters.
fn typed(function: &ItemFn) -> impl Iterator<Item = &Type> {
    function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(value) => Some(&*value.ty),
        FnArg::Receiver(_) => None,
    })
}

/// Parses both halves. A wrong function is reported before a wrong argument, and all its faults at
/// once.
fn parse(macro_name: &str, arguments: TokenStream, item: TokenStream) -> Result<(Settings, ItemFn)> {
    let function = syn::parse2::<ItemFn>(item)
        .map_err(|error| Error::new(error.span(), format!("{macro_name} goes on an `async fn`: {error}")))?;
    check_signature(macro_name, &function)?;
    let settings = Settings::parse.parse2(arguments)?;
    Ok((settings, function))
}

fn check_signature(macro_name: &str, function: &ItemFn) -> Result<()> {
    let sig = &function.sig;
    let mut faults: Vec<Error> = Vec::new();
    let mut fault = |span: Span, what: &str| faults.push(Error::new(span, format!("{macro_name} {what}")));
    if sig.asyncness.is_none() {
        fault(sig.fn_token.span(), "needs an `async fn`: write `async` before `fn`");
    }
    if !sig.generics.params.is_empty() {
        fault(sig.generics.span(), "cannot make a generic function the entry: nobody names its parameters");
    }
    if let Some(clause) = &sig.generics.where_clause {
        fault(clause.span(), "takes no `where` clause");
    }
    match sig.inputs.first() {
        Some(FnArg::Receiver(this)) => fault(this.span(), "goes on a function, and this is a method"),
        Some(_) if macro_name != MAIN || sig.ident == "main" => {
            fault(sig.inputs.span(), "calls the function without arguments: it cannot have parameters");
        }
        _ => {}
    }
    if let Some(unsafety) = &sig.unsafety {
        fault(unsafety.span(), "cannot vouch for an `unsafe fn`");
    }
    if let Some(abi) = &sig.abi {
        fault(abi.span(), "needs a function with the Rust ABI");
    }
    combine(faults)
}

/// Whether the item reads `fn main`, judged by its tokens because it may not parse.
fn names_main(item: TokenStream) -> bool {
    let words: Vec<String> = item.into_iter().map(|token| token.to_string()).collect();
    words.windows(2).any(|pair| pair[0] == "fn" && pair[1] == "main")
}

/// A test marked twice would run twice, once without a runtime.
fn no_second_test(function: &ItemFn) -> Result<()> {
    let second = function.attrs.iter().find(|attribute| attribute.path().is_ident("test"));
    match second {
        Some(attribute) => {
            Err(Error::new(attribute.span(), "#[ringwork::test] already makes this a test: remove `#[test]`"))
        }
        None => Ok(()),
    }
}

fn combine(faults: Vec<Error>) -> Result<()> {
    match faults.into_iter().reduce(|mut all, next| {
        all.combine(next);
        all
    }) {
        Some(all) => Err(all),
        None => Ok(()),
    }
}

/// The arguments of either attribute, each already in the form in which the builder takes it.
#[derive(Default)]
struct Settings {
    cores: Option<Literal>,
    pin: Option<Ident>,
    on_task_panic: Option<Ident>,
    start_paused: Option<bool>,
    tokio_context: Option<Switch>,
}

impl Settings {
    fn parse(input: ParseStream<'_>) -> Result<Settings> {
        let mut settings = Settings::default();
        for argument in Punctuated::<Argument, Token![,]>::parse_terminated(input)? {
            settings.set(&argument)?;
        }
        match &settings.cores {
            Some(cores) if settings.is_paused() && cores.to_string() != "1" => {
                let message = "`start_paused` needs one core: leave `cores` out, or write `cores = 1`";
                Err(Error::new(cores.span(), message))
            }
            _ => Ok(settings),
        }
    }

    fn is_paused(&self) -> bool {
        self.start_paused == Some(true)
    }

    fn set(&mut self, argument: &Argument) -> Result<()> {
        let name = &argument.name;
        let twice = if name == "cores" {
            self.cores.replace(cores(&argument.value)?).is_some()
        } else if name == "pin" {
            self.pin.replace(PIN.read(&argument.value)?).is_some()
        } else if name == "on_task_panic" {
            self.on_task_panic.replace(ON_TASK_PANIC.read(&argument.value)?).is_some()
        } else if name == "start_paused" {
            self.start_paused.replace(is_on(argument)?).is_some()
        } else if name == "tokio_context" {
            let switch = Switch { name: name.clone(), is_on: is_on(argument)? };
            self.tokio_context.replace(switch).is_some()
        } else {
            let expected = "`cores`, `pin`, `on_task_panic`, `start_paused` or `tokio_context`";
            let message = format!("unknown argument `{name}`: expected {expected}{}", in_our_words(name));
            return Err(Error::new(name.span(), message));
        };
        if twice {
            return Err(Error::new(name.span(), format!("`{name}` is given twice")));
        }
        Ok(())
    }

    /// The builder, with the calls that the given arguments stand for.
    fn builder(&self) -> TokenStream {
        let cores = self.cores.iter();
        let pin = self.pin.iter();
        let on_task_panic = self.on_task_panic.iter();
        let start_paused = self.start_paused.iter();
        let builder = quote! {
            ::ringwork::runtime::Builder::new()
            #(.cores(#cores))*
            #(.pin(::ringwork::runtime::Pin::#pin))*
            #(.on_task_panic(::ringwork::runtime::PanicPolicy::#on_task_panic))*
            #(.start_paused(#start_paused))*
        };
        match &self.tokio_context {
            // With the user's span: without the feature an error stands in its place, shown at the argument.
            Some(Switch { name, is_on: true }) => {
                quote_spanned! { name.span()=> ::ringwork::__with_tokio_context!(#builder) }
            }
            _ => builder,
        }
    }
}

/// What to write for an argument of tokio's attributes.
fn in_our_words(name: &Ident) -> &'static str {
    if name == "flavor" {
        "; there is one flavor: leave it out, and for tokio's `current_thread` write `cores = 1`"
    } else if name == "worker_threads" {
        "; for tokio's `worker_threads` write `cores`"
    } else {
        ""
    }
}

/// One `name = literal`.
struct Argument {
    name: Ident,
    value: Lit,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Argument> {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Argument { name, value: input.parse()? })
    }
}

fn cores(value: &Lit) -> Result<Literal> {
    let number = match value {
        Lit::Int(number) => LitInt::base10_parse::<usize>(number).ok(),
        _ => None,
    };
    match number {
        Some(number) if number >= 1 => {
            let mut literal = Literal::usize_unsuffixed(number);
            literal.set_span(value.span());
            Ok(literal)
        }
        _ => Err(Error::new(value.span(), "`cores` takes a whole number of at least 1")),
    }
}

/// The name of an argument that turns something on, and whether it does.
struct Switch {
    name: Ident,
    is_on: bool,
}

fn is_on(argument: &Argument) -> Result<bool> {
    match &argument.value {
        Lit::Bool(value) => Ok(value.value),
        value => Err(Error::new(value.span(), format!("`{}` takes `true` or `false`", argument.name))),
    }
}

/// An argument whose value is one of a few words, each of which stands for a variant.
struct Choice {
    words: &'static [(&'static str, &'static str)],
    message: &'static str,
}

const PIN: Choice = Choice {
    words: &[("auto", "Auto"), ("each", "Each"), ("off", "Off")],
    message: "`pin` takes \"auto\", \"each\" or \"off\"",
};

const ON_TASK_PANIC: Choice = Choice {
    words: &[("contain", "Contain"), ("shut_down", "ShutDown")],
    message: "`on_task_panic` takes \"contain\" or \"shut_down\"",
};

impl Choice {
    fn read(&self, value: &Lit) -> Result<Ident> {
        let text = match value {
            Lit::Str(text) => LitStr::value(text),
            _ => String::new(),
        };
        match self.words.iter().find(|(word, _)| *word == text) {
            Some((_, variant)) => Ok(Ident::new(variant, Span::call_site())),
            None => Err(Error::new(value.span(), self.message)),
        }
    }
}

#[cfg(test)]
mod tests;
