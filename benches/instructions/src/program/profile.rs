//! Where the instructions of a path are: by function, as the symbols of this program part them.
//!
//! A function that was inlined counts for the one it was inlined into. `nm`, of the binutils that a compiler
//! needs anyway, knows the symbols.
#![forbid(unsafe_code)]

use crate::program::Fallible;
use crate::program::count::child;
use crate::program::paths::Path;
use std::collections::HashMap;
use std::process::Command;

/// Prints the functions of a path with what an op executes in each, most first.
pub(crate) fn print(path: &Path) -> Fallible<()> {
    let answer = child(&["count", path.name, "histogram"])?;
    let symbols = Symbols::of_this_program()?;
    let mut lines = answer.lines().skip(1);
    let elsewhere: u64 = lines.next().ok_or("no histogram")?.parse()?;
    let mut counts = HashMap::from([("(C library)", elsewhere)]);
    for line in lines {
        let (address, count) = line.split_once(' ').ok_or("no address and count")?;
        *counts.entry(symbols.at(address.parse()?)).or_default() += count.parse::<u64>()?;
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    println!("{}: {}\n", path.name, path.what);
    for (name, count) in counts {
        println!("{:>10.2}  {name}", count as f64 / path.ops() as f64);
    }
    Ok(())
}

/// Names of functions by where they begin, from the start of the image.
struct Symbols(Vec<(usize, String)>);

impl Symbols {
    fn of_this_program() -> Fallible<Self> {
        let output = Command::new("nm").args(["-C", "--defined-only"]).arg(std::env::current_exe()?).output();
        let output = output.map_err(|error| format!("nm, of binutils: {error}"))?;
        let text = String::from_utf8(output.stdout)?;
        Self::parse(&text).ok_or_else(|| "nm names no symbols".into())
    }

    fn parse(text: &str) -> Option<Self> {
        let all = || text.lines().filter_map(symbol);
        let (start, ..) = all().find(|(_, _, name)| *name == "__executable_start")?;
        let code = all().filter(|&(_, kind, _)| matches!(kind, "t" | "T" | "w" | "W"));
        let mut code: Vec<_> =
            code.map(|(at, _, name)| (at - start, without_hash(name).to_owned())).collect();
        code.sort();
        Some(Self(code))
    }

    fn at(&self, address: usize) -> &str {
        let after = self.0.partition_point(|(at, _)| *at <= address);
        after.checked_sub(1).map_or("(before all)", |index| &self.0[index].1)
    }
}

/// Address, kind and name of a line of nm.
fn symbol(line: &str) -> Option<(usize, &str, &str)> {
    let mut words = line.splitn(3, ' ');
    let address = usize::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.next()?, words.next()?))
}

/// The name without what the compiler appends to tell namesakes apart.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let text = "0000000000001000 R __executable_start\n\
                    0000000000001800 t ringwork::task::run::h0123456789abcdef\n\
                    0000000000001900 T main\n0000000000001880 d data\n                 U malloc\n";
        let symbols = Symbols::parse(text).expect("well formed");
        assert_eq!(symbols.at(0x800), "ringwork::task::run");
        assert_eq!(symbols.at(0x8ff), "ringwork::task::run");
        assert_eq!(symbols.at(0x900), "main");
        assert_eq!(symbols.at(0), "(before all)");
    }
}
