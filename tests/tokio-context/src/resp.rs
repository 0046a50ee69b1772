//! A small server on ringwork that speaks RESP2: what the `redis` client needs to keep values.
//!
//! It knows PING, SET, GET, INCRBY, DEL and CLIENT, and says so of others.

use ringwork::Server;
use ringwork::net::TcpStream;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

type Values = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// Serves on every core of the runtime this is awaited in.
///
/// # Errors
/// The system's, if no address can be had.
pub async fn serve() -> io::Result<Server> {
    let values = Values::default();
    let address = "127.0.0.1:0".parse().expect("an address");
    ringwork::serve_per_core(address, move |stream: TcpStream, _peer| {
        let values = Arc::clone(&values);
        async move {
            let mut asked = Vec::new();
            while let Ok(bytes) = stream.recv_pooled().await {
                if bytes.is_empty() {
                    return;
                }
                asked.extend_from_slice(&bytes);
                let mut answers = Vec::new();
                while let Some((words, len)) = command(&asked) {
                    asked.drain(..len);
                    answers.extend(answer(&values, &words));
                }
                if stream.send_all(answers).await.0.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// The words of the first command, if it is whole, and how long it is.
fn command(asked: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut at) = number(asked, 0, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (len, start) = number(asked, at, b'$')?;
        words.push(asked.get(start..start + len)?.to_vec());
        at = start + len + 2;
    }
    (at <= asked.len()).then_some((words, at))
}

/// The number behind `mark` at `at`, and where the next line begins.
fn number(asked: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = asked.get(at..)?;
    let len = line.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(line[0], mark, "a command is an array of strings");
    let number = std::str::from_utf8(&line[1..len]).ok()?.parse().ok()?;
    Some((number, at + len + 2))
}

fn answer(values: &Values, words: &[Vec<u8>]) -> Vec<u8> {
    let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
    let name = words[0].to_ascii_uppercase();
    match (&name[..], &words[1..]) {
        (b"PING", []) => b"+PONG\r\n".to_vec(),
        (b"CLIENT", _) => b"+OK\r\n".to_vec(),
        (b"SET", [key, value]) => {
            values.insert(key.clone(), value.clone());
            b"+OK\r\n".to_vec()
        }
        (b"GET", [key]) => match values.get(key) {
            Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
            None => b"$-1\r\n".to_vec(),
        },
        (b"INCRBY", [key, by]) => {
            let number = |text: &[u8]| String::from_utf8_lossy(text).parse::<i64>().unwrap_or_default();
            let value = values.entry(key.clone()).or_default();
            let number = number(value) + number(by);
            *value = number.to_string().into_bytes();
            format!(":{number}\r\n").into_bytes()
        }
        (b"DEL", [key]) => format!(":{}\r\n", i32::from(values.remove(key).is_some())).into_bytes(),
        _ => format!("-ERR no such command: {}\r\n", String::from_utf8_lossy(&name)).into_bytes(),
    }
}
