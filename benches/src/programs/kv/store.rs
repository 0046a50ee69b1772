//! What is stored, and the two ways to it: of one thread, and under a lock for tasks that may be anywhere.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::resp::{Command, Head, Reply, parse};

/// The values by their keys.
#[derive(Default)]
pub(super) struct Map(HashMap<Box<[u8]>, Box<[u8]>>);

impl Map {
    /// Does the commands that are whole in `bytes` and appends the replies to `out`; the length of what was
    /// understood.
    fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        while let Some((command, length)) = parse(&bytes[used..])? {
            used += length;
            let reply = match command {
                Command::Get(key) => Reply::Value(self.0.get(key).map(|value| &value[..])),
                Command::Set(key, value) => {
                    self.0.insert(key.into(), value.into());
                    Reply::Stored
                }
                Command::Unknown => Reply::Unknown,
            };
            for piece in reply.pieces(&mut Head::default()) {
                out.extend_from_slice(piece);
            }
        }
        Ok(used)
    }
}

/// What a connection has said and is not whole yet.
#[derive(Default)]
pub(super) struct Unread(Vec<u8>);

impl Unread {
    /// Does what `piece` completes; the replies are appended to `out`.
    pub(super) fn take(&mut self, piece: &[u8], map: &mut Map, out: &mut Vec<u8>) -> io::Result<()> {
        if self.0.is_empty() {
            let used = map.answer(piece, out)?;
            self.0.extend_from_slice(&piece[used..]);
        } else {
            self.0.extend_from_slice(piece);
            let used = map.answer(&self.0, out)?;
            self.0.drain(..used);
        }
        Ok(())
    }
}

/// The map of a program whose tasks may run on any thread.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Map>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().expect("nothing panics under it")
    }
}
