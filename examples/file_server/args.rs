//! The command line of `file_server`: what may be said, and what is said back when it makes no sense.
//!
//! Teaches: parsing arguments with `lexopt` into one plain struct. Every mistake is one line that names
//! the argument; `main` prints it and exits with code 2.
//! It is not the place where a root is opened or an address bound: those errors belong to `main`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::ValueExt;
use ringwork::Balance;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Serve the files of one folder over HTTP/1.1.

Usage: file_server [--root DIR] [--listen ADDR] [--cores N] [--balance WAY] [--cache SECONDS]

  --root DIR       the folder to serve; nothing outside it can be read   [default: .]
  --listen ADDR    address and port, port 0 picks a free one             [default: 127.0.0.1:8080]
  --cores N        number of cores (threads with a ring each)            [default: what the process may use]
  --balance WAY    how connections are spread over the cores: nearest,   [default: nearest]
                   kernel or least-loaded
  --cache SECONDS  how long an open file is reused before it is looked   [default: 1]
                   up again; 0 turns the cache of open files off
  --help           this text
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print [`HELP`] and exit with code 0.
    Help,
    /// Serve.
    Serve(Options),
}

/// Everything `file_server` can be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) root: PathBuf,
    pub(crate) listen: SocketAddr,
    /// `None`: as many as the process may use.
    pub(crate) cores: Option<usize>,
    pub(crate) balance: Balance,
    /// Zero: open the file anew for each request.
    pub(crate) cache: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            root: PathBuf::from("."),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            cores: None,
            balance: Balance::Nearest,
            cache: Duration::from_secs(1),
        }
    }
}

/// Reads the arguments, without the program's own name. The error is one line for stderr.
pub(crate) fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Command, String> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(one_line)? {
        match arg {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Command::Help),
            lexopt::Arg::Long("root") => options.root = PathBuf::from(parser.value().map_err(one_line)?),
            lexopt::Arg::Long("listen") => {
                options.listen = value(&mut parser, "--listen", "an address such as 127.0.0.1:8080")?;
            }
            lexopt::Arg::Long("cores") => {
                let cores: usize = value(&mut parser, "--cores", CORES)?;
                if !(1..=CORES_MAX).contains(&cores) {
                    return Err(format!("--cores {cores}: expected {CORES}"));
                }
                options.cores = Some(cores);
            }
            lexopt::Arg::Long("balance") => {
                let way: String = value(&mut parser, "--balance", WAYS)?;
                options.balance = match way.as_str() {
                    "nearest" => Balance::Nearest,
                    "kernel" => Balance::Kernel,
                    "least-loaded" => Balance::LeastLoaded,
                    _ => return Err(format!("--balance {way:?}: expected {WAYS}")),
                };
            }
            lexopt::Arg::Long("cache") => {
                let seconds: u32 = value(&mut parser, "--cache", "a whole number of seconds")?;
                options.cache = Duration::from_secs(u64::from(seconds));
            }
            other => return Err(one_line(other.unexpected())),
        }
    }
    Ok(Command::Serve(options))
}

fn value<T: std::str::FromStr>(parser: &mut lexopt::Parser, name: &str, expected: &str) -> Result<T, String> {
    let text = parser.value().map_err(one_line)?;
    let text =
        text.string().map_err(|_| format!("{name}: expected {expected}, found bytes that are no text"))?;
    text.parse().map_err(|_| format!("{name} {text:?}: expected {expected}"))
}

fn one_line(error: lexopt::Error) -> String {
    format!("{error} (try --help)").replace('\n', " ")
}

/// No machine has more CPUs than this; a larger number is a slip of the finger.
const CORES_MAX: usize = 1024;
const CORES: &str = "a whole number from 1 to 1024";
const WAYS: &str = "nearest, kernel or least-loaded";

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(args: &[&str]) -> Options {
        match parse(args.iter().copied()) {
            Ok(Command::Serve(options)) => options,
            other => panic!("expected options, got {other:?}"),
        }
    }

    fn error(args: &[&str]) -> String {
        parse(args.iter().copied()).expect_err("the arguments are wrong")
    }

    #[test]
    fn no_argument_serves_the_current_folder_on_loopback() {
        let options = serve(&[]);
        assert_eq!(options.root, PathBuf::from("."));
        assert_eq!(options.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(options.cores, None);
        assert_eq!(options.cache, Duration::from_secs(1));
    }

    #[test]
    fn every_argument_is_read_in_both_spellings() {
        let options =
            serve(&["--root", "/srv", "--listen=[::1]:80", "--cores", "3", "--cache=0", "--balance=kernel"]);
        assert_eq!(options.root, PathBuf::from("/srv"));
        assert_eq!(options.listen.to_string(), "[::1]:80");
        assert_eq!(options.cores, Some(3));
        assert_eq!(options.cache, Duration::ZERO);
        assert_eq!(serve(&["--balance", "least-loaded"]).balance, Balance::LeastLoaded);
    }

    #[test]
    fn help_wins_wherever_it_stands() {
        assert_eq!(parse(["--cores", "2", "--help"]), Ok(Command::Help));
        assert_eq!(parse(["-h"]), Ok(Command::Help));
    }

    #[test]
    fn each_mistake_is_one_line_that_names_the_argument() {
        for (args, named) in [
            (&["--listen", "here"][..], "--listen \"here\""),
            (&["--listen", "127.0.0.1"], "127.0.0.1:8080"),
            (&["--cores", "0"], "--cores 0"),
            (&["--cores", "many"], "--cores \"many\""),
            (&["--balance", "fair"], "--balance \"fair\""),
            (&["--cache", "-1"], "--cache \"-1\""),
            (&["--cache", "1.5"], "whole number of seconds"),
            (&["--root"], "--root"),
            (&["--color"], "--color"),
            (&["folder"], "folder"),
            (&["-x"], "-x"),
            (&["--he\nlp"], "--he"),
        ] {
            let line = error(args);
            assert!(line.contains(named), "{line:?} does not name {named:?}");
            assert!(!line.contains('\n'), "{line:?} is more than one line");
        }
    }
}
