//! What a program under measurement is asked for: words of the form `key=value` behind its name. They are
//! read and written here and nowhere else, so that a workload can ask for something new without a new option.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::meter::Times;

/// The words by their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    values: BTreeMap<String, String>,
}

impl Plan {
    /// Of a program that is measured for `times`.
    pub(crate) fn timed(times: Times) -> Plan {
        Plan::default().with("warm", times.warm.as_millis()).with("measure", times.measure.as_millis())
    }

    /// The plan that `words` give.
    pub(crate) fn parse(words: &[String]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not key=value"))?;
            plan.values.insert(key.to_owned(), value.to_owned());
        }
        Ok(plan)
    }

    /// The same with one more word.
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Plan {
        self.values.insert(key.to_owned(), value.to_string());
        self
    }

    /// As they are written on a command line.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// The value of `key`, if there is one.
    pub(crate) fn value<T: FromStr>(&self, key: &str) -> io::Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let wrong = |_| io::Error::other(format!("{key}={value} makes no sense here"));
        value.parse().map(Some).map_err(wrong)
    }

    /// The value of `key`, without which the program cannot do its work.
    pub(crate) fn need<T: FromStr>(&self, key: &str) -> io::Result<T> {
        self.value(key)?.ok_or_else(|| io::Error::other(format!("{key}=… is missing")))
    }

    /// The value of `key`, or `otherwise`.
    pub(crate) fn value_or<T: FromStr>(&self, key: &str, otherwise: T) -> io::Result<T> {
        Ok(self.value(key)?.unwrap_or(otherwise))
    }

    /// Whether `key` is 1.
    pub(crate) fn is_set(&self, key: &str) -> io::Result<bool> {
        Ok(self.value::<u8>(key)? == Some(1))
    }

    /// The CPUs the program may use, if that is said.
    pub(crate) fn cpus(&self) -> io::Result<Option<Vec<usize>>> {
        let Some(list) = self.value::<String>("cpu")? else { return Ok(None) };
        let parse = |number: &str| {
            number.parse().map_err(|_| io::Error::other(format!("cpu={list}: {number} is no CPU")))
        };
        list.split(',').map(parse).collect::<io::Result<_>>().map(Some)
    }

    /// Threads, or cores, of a server: one unless more are asked for.
    pub(crate) fn cores(&self) -> io::Result<usize> {
        self.value_or("cores", 1)
    }

    /// Where a server listens.
    pub(crate) fn listen(&self) -> io::Result<SocketAddr> {
        self.value_or("listen", (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The length of the buffer a server receives into: the usual 4 KiB unless messages are longer.
    pub(crate) fn buffer(&self) -> io::Result<usize> {
        self.value_or("buffer", 4096)
    }

    /// How long a program warms up and is measured.
    pub(crate) fn times(&self) -> io::Result<Times> {
        let millis = |key, otherwise| self.value_or(key, otherwise).map(Duration::from_millis);
        Ok(Times { warm: millis("warm", 300)?, measure: millis("measure", 1500)? })
    }

    /// The file that is read or written.
    pub(crate) fn file(&self) -> io::Result<PathBuf> {
        self.need("file")
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn words_are_read_as_they_were_written() {
        let plan = Plan::default().with("op", "yield").with("cpu", "0,1");
        let words: Vec<String> = plan.words().collect();
        let again = Plan::parse(&words).expect("well formed");
        assert_eq!(again.need::<String>("op").expect("given"), "yield");
        assert_eq!(again.cpus().expect("numbers"), Some(vec![0, 1]));
        assert_eq!(again.cores().expect("a default"), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(Plan::parse(&["yield".to_owned()]).unwrap_err().contains("yield"));
        let plan = Plan::default().with("cores", "many").with("cpu", "0,x");
        assert!(plan.cores().unwrap_err().to_string().contains("cores=many"));
        assert!(plan.cpus().unwrap_err().to_string().contains('x'));
        assert!(plan.need::<u64>("turns").unwrap_err().to_string().contains("turns"));
    }
}
