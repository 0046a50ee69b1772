//! RESP2 as a server needs it: commands out of bytes, and the bytes of replies. It knows GET and SET; of any
//! other command it says only where it ends. Pure: it moves nothing and keeps nothing.

use std::io;

/// The longest word and the most words of a command, as redis has them by default.
const MOST: usize = 512 << 20;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Get(&'a [u8]),
    Set(&'a [u8], &'a [u8]),
    /// Something else, or one of these with the wrong number of words.
    Unknown,
}

/// The command at the beginning of `bytes` and its length; none if it is not whole yet.
///
/// # Errors
/// If that is no command, whatever follows.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<(Command<'_>, usize)>> {
    let Some((count, mut rest)) = number(bytes, b'*')? else { return Ok(None) };
    let mut words = [&bytes[..0]; 3];
    for at in 0..count {
        let Some((word, behind)) = word(rest)? else { return Ok(None) };
        rest = behind;
        if let Some(place) = words.get_mut(at) {
            *place = word;
        }
    }
    let [name, key, value] = words;
    let command = match count {
        2 if name.eq_ignore_ascii_case(b"get") => Command::Get(key),
        3 if name.eq_ignore_ascii_case(b"set") => Command::Set(key, value),
        _ => Command::Unknown,
    };
    Ok(Some((command, bytes.len() - rest.len())))
}

/// A word behind its length, and what follows.
fn word(bytes: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let Some((length, rest)) = number(bytes, b'$')? else { return Ok(None) };
    if rest.len() < length + 2 {
        return Ok(None);
    }
    let (word, rest) = rest.split_at(length);
    let rest = rest.strip_prefix(b"\r\n").ok_or_else(broken)?;
    Ok(Some((word, rest)))
}

/// The number in a line that begins with `sign`, and what follows the line.
fn number(bytes: &[u8], sign: u8) -> io::Result<Option<(usize, &[u8])>> {
    let Some((first, line)) = bytes.split_first() else { return Ok(None) };
    if *first != sign {
        return Err(broken());
    }
    let mut number = 0;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'0'..=b'9' if number <= MOST => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if at > 0 && number <= MOST => {
                let Some((last, rest)) = line[at + 1..].split_first() else { return Ok(None) };
                return if *last == b'\n' { Ok(Some((number, rest))) } else { Err(broken()) };
            }
            _ => return Err(broken()),
        }
    }
    Ok(None)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "that is no command of RESP2")
}

/// What a client is told.
pub(super) enum Reply<'a> {
    /// The value of a key, if it has one.
    Value(Option<&'a [u8]>),
    Stored,
    Unknown,
}

impl Reply<'_> {
    /// Its bytes, in pieces that are sent one behind the other; some may be empty.
    pub(super) fn pieces<'a>(&'a self, head: &'a mut Head) -> [&'a [u8]; 3] {
        match self {
            Reply::Value(Some(value)) => [head.of_length(value.len()), value, b"\r\n"],
            Reply::Value(None) => [b"$-1\r\n", b"", b""],
            Reply::Stored => [b"+OK\r\n", b"", b""],
            Reply::Unknown => [b"-ERR unknown command\r\n", b"", b""],
        }
    }
}

/// Room for the line that says how long a value is.
#[derive(Default)]
pub(super) struct Head([u8; 24]);

impl Head {
    fn of_length(&mut self, length: usize) -> &[u8] {
        let mut first = self.0.len() - 2;
        self.0[first..].copy_from_slice(b"\r\n");
        let mut left = length;
        loop {
            first -= 1;
            self.0[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        first -= 1;
        self.0[first] = b'$';
        &self.0[first..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_when_it_is_whole_and_not_before() {
        let both = b"*3\r\n$3\r\nsEt\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        let (first, length) = parse(both).expect("well formed").expect("whole");
        assert_eq!(first, Command::Set(b"k", b"\r\n\r\n"));
        assert_eq!(parse(&both[length..]).expect("well formed"), Some((Command::Get(b""), 19)));
        for end in 0..length {
            assert_eq!(parse(&both[..end]).expect("well formed so far"), None, "{end}");
        }
    }

    #[test]
    fn other_commands_are_passed_over_and_what_is_none_is_refused() {
        let ping = b"*1\r\n$4\r\nPING\r\n";
        assert_eq!(parse(ping).expect("well formed"), Some((Command::Unknown, ping.len())));
        let long = b"*4\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n$2\r\nNX\r\n";
        assert_eq!(parse(long).expect("well formed"), Some((Command::Unknown, long.len())));
        for wrong in [&b"GET a\r\n"[..], b"*\r\n", b"*x\r\n", b"*1\r$", b"*1\r\n:4\r\n", b"*1\r\n$1\r\nabc"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(b"*1\r\n$99999999999999999999999999\r\n").is_err());
    }

    #[test]
    fn replies_are_those_of_the_protocol() {
        let bytes = |reply: Reply| reply.pieces(&mut Head::default()).concat();
        assert_eq!(bytes(Reply::Value(Some(b"hello, world"))), b"$12\r\nhello, world\r\n");
        assert_eq!(bytes(Reply::Value(Some(b""))), b"$0\r\n\r\n");
        assert_eq!(bytes(Reply::Value(None)), b"$-1\r\n");
        assert_eq!(bytes(Reply::Stored), b"+OK\r\n");
        let longest = usize::MAX.to_string();
        assert_eq!(Head::default().of_length(usize::MAX), format!("${longest}\r\n").as_bytes());
    }
}
