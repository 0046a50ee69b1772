//! The one task that writes the file of a log.
//!
//! Owns the file and where it ends. Promises that jobs are carried out in order, that nobody is told of
//! success before the device has said so, and that after a failure everybody is told of it.
#![forbid(unsafe_code)]

use crate::TypeConfig;
use crate::files;
use openraft::storage::IOFlushed;
use ringwork::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// Bytes that are written at once, if as many wait.
const AT_ONCE: usize = 1 << 20;

/// Who waits until a change is on the device.
pub(super) enum Done {
    /// Nobody: it may go there with what comes after it.
    Nobody,
    Flushed(IOFlushed<TypeConfig>),
    Tell(oneshot::Sender<io::Result<()>>),
}

pub(super) enum Job {
    Append {
        bytes: Vec<u8>,
        done: Done,
    },
    /// These bytes are all that the file should hold.
    Replace {
        bytes: Vec<u8>,
    },
}

pub(super) struct Writer {
    dir: PathBuf,
    name: &'static str,
    file: File,
    end: u64,
    failure: Option<(io::ErrorKind, String)>,
}

impl Writer {
    pub(super) fn new(dir: &Path, name: &'static str, file: File, end: u64) -> Self {
        Self { dir: dir.to_owned(), name, file, end, failure: None }
    }

    /// Carries out jobs until there is nobody left who could send one.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Append { bytes, done } => next = self.append(bytes, done, &mut jobs).await,
                    Job::Replace { bytes } => self.replace(bytes).await,
                }
            }
        }
    }

    /// Writes one change together with those that wait behind it. Gives back the job of another kind that
    /// it has met.
    async fn append(&mut self, first: Vec<u8>, done: Done, jobs: &mut mpsc::Receiver<Job>) -> Option<Job> {
        let (mut bytes, mut waiting, mut next) = (first, vec![done], None);
        while bytes.len() < AT_ONCE {
            match jobs.try_recv() {
                Ok(Job::Append { bytes: more, done }) => {
                    bytes.extend_from_slice(&more);
                    waiting.push(done);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        if self.failure.is_none() {
            let sync = waiting.iter().any(|done| !matches!(done, Done::Nobody));
            let written = self.write(bytes, sync).await;
            self.note(written);
        }
        for done in waiting {
            done.tell(self.outcome());
        }
        next
    }

    async fn write(&mut self, bytes: Vec<u8>, sync: bool) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.file.write_all_at(bytes, self.end).await.0?;
        self.end += len;
        if sync { self.file.sync_data().await } else { Ok(()) }
    }

    async fn replace(&mut self, bytes: Vec<u8>) {
        if self.failure.is_some() {
            return;
        }
        let len = bytes.len() as u64;
        let replaced = files::replace(&self.dir, self.name, bytes).await.map(|file| {
            self.file = file;
            self.end = len;
        });
        self.note(replaced);
    }

    fn note(&mut self, result: io::Result<()>) {
        self.failure = result.err().map(|error| (error.kind(), error.to_string()));
    }

    fn outcome(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
        }
    }
}

impl Done {
    fn tell(self, outcome: io::Result<()>) {
        match self {
            Self::Nobody => {}
            Self::Flushed(flushed) => flushed.io_completed(outcome),
            // Whoever has asked may have gone.
            Self::Tell(sender) => drop(sender.send(outcome)),
        }
    }
}
