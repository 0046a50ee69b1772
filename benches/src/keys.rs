//! The keys and values of the key-value workloads, and what a client says for them in RESP2: known to who
//! fills a store, to who asks it and to nobody who answers. Pure.

use std::ops::Range;

/// Keys in a store.
pub(crate) const KEYS: u64 = 10_000;

/// The length of a value.
pub(crate) const VALUE: usize = 64;

/// How a value is answered: its length in a line, the value, the end of a line.
const HEAD: &[u8] = b"$64\r\n";
pub(crate) const REPLY: usize = HEAD.len() + VALUE + 2;

/// The question for key 0; the keys are those of redis-benchmark.
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n";
pub(crate) const REQUEST: usize = GET.len();
const DIGITS: Range<usize> = REQUEST - 14..REQUEST - 2;

/// Writes the question for a key.
pub(crate) fn ask(number: u64, request: &mut [u8]) {
    request.copy_from_slice(GET);
    rename(request, number);
}

/// Turns the question for one key into that for another: the `step`th of an order without a pattern. Who has
/// asked for different keys asks for different keys again.
pub(crate) fn ask_another(request: &mut [u8], step: u64) {
    let next = asked(request) + mix(step) % KEYS;
    rename(request, next % KEYS);
}

/// The whole answer to `request`.
pub(crate) fn answer(request: &[u8]) -> [u8; REPLY] {
    let mut reply = [0; REPLY];
    let (head, rest) = reply.split_at_mut(HEAD.len());
    head.copy_from_slice(HEAD);
    rest[..VALUE].copy_from_slice(&value(asked(request)));
    rest[VALUE..].copy_from_slice(b"\r\n");
    reply
}

/// What a store is told for a key to hold its value.
pub(crate) fn tell(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n").as_bytes());
    out.extend_from_slice(HEAD);
    out.extend_from_slice(&value(number));
    out.extend_from_slice(b"\r\n");
}

/// The value of a key: any bytes, those that end lines among them.
fn value(number: u64) -> [u8; VALUE] {
    let mut value = [0; VALUE];
    for (word, bytes) in value.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&mix(number << 8 | word as u64).to_le_bytes());
    }
    value
}

fn asked(request: &[u8]) -> u64 {
    request[DIGITS].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn rename(request: &mut [u8], mut number: u64) {
    for digit in request[DIGITS].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn mix(number: u64) -> u64 {
    let product = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_question_names_its_key_and_the_answer_is_what_the_store_was_told() {
        let (mut request, mut told) = ([0; REQUEST], Vec::new());
        ask(4711, &mut request);
        assert_eq!(&request[..], b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000004711\r\n");
        tell(4711, &mut told);
        assert!(told.starts_with(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000004711\r\n$64\r\n"));
        assert!(told.ends_with(&answer(&request)));
    }

    #[test]
    fn no_two_values_are_the_same_and_questions_go_through_all_keys() {
        let values: BTreeSet<[u8; VALUE]> = (0..KEYS).map(value).collect();
        assert_eq!(values.len() as u64, KEYS);
        let mut request = [0; REQUEST];
        ask(7, &mut request);
        let mut seen = BTreeSet::new();
        for step in 0..20 * KEYS {
            ask_another(&mut request, step);
            seen.insert(asked(&request));
        }
        assert_eq!(seen.len() as u64, KEYS);
        assert_eq!(seen.last(), Some(&(KEYS - 1)));
    }
}
