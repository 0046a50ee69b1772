//! What the records of a log add up to. Pure: it knows no file.
#![forbid(unsafe_code)]

use crate::TypeConfig;
use crate::files;
use openraft::LogState;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeBounds;

/// One change of the log, as it is in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record<E> {
    Vote(VoteOf<TypeConfig>),
    Committed(Option<LogIdOf<TypeConfig>>),
    Entry(E),
    /// What is behind this is gone.
    Truncate(Option<LogIdOf<TypeConfig>>),
    /// This and what is before it is gone.
    Purge(LogIdOf<TypeConfig>),
}

/// The log now.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) vote: Option<VoteOf<TypeConfig>>,
    pub(super) committed: Option<LogIdOf<TypeConfig>>,
    purged: Option<LogIdOf<TypeConfig>>,
    entries: BTreeMap<u64, EntryOf<TypeConfig>>,
}

impl Contents {
    /// What the whole records at the beginning of a file add up to, and where they end.
    pub(super) fn replay(bytes: &[u8]) -> (Self, u64) {
        let (mut contents, mut at) = (Self::default(), 0);
        while let Some((record, len)) = files::open(&bytes[at..]) {
            contents.apply(record);
            at += len;
        }
        (contents, at as u64)
    }

    pub(super) fn apply(&mut self, record: Record<EntryOf<TypeConfig>>) {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(committed) => self.committed = committed,
            Record::Entry(entry) => {
                self.entries.insert(entry.log_id.index, entry);
            }
            Record::Truncate(last) => {
                self.entries.split_off(&last.map_or(0, |last| last.index + 1));
            }
            Record::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(upto);
            }
        }
    }

    /// The fewest records that add up to this.
    pub(super) fn write(&self, into: &mut Vec<u8>) -> io::Result<()> {
        // The purge first: an entry of a file that ends in front of its purge would be behind a hole.
        if let Some(purged) = self.purged {
            files::seal(&Record::<&EntryOf<TypeConfig>>::Purge(purged), into)?;
        }
        if let Some(vote) = self.vote {
            files::seal(&Record::<&EntryOf<TypeConfig>>::Vote(vote), into)?;
        }
        for entry in self.entries.values() {
            files::seal(&Record::Entry(entry), into)?;
        }
        files::seal(&Record::<&EntryOf<TypeConfig>>::Committed(self.committed), into)
    }

    pub(super) fn entries(&self, range: impl RangeBounds<u64>) -> Vec<EntryOf<TypeConfig>> {
        self.entries.range(range).map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn log_state(&self) -> LogState<TypeConfig> {
        let last = self.entries.last_key_value().map(|(_, entry)| entry.log_id);
        LogState { last_purged_log_id: self.purged, last_log_id: last.or(self.purged) }
    }
}
