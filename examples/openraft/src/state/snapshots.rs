//! The last snapshot, on disk and at hand.
//!
//! Promises that after a crash there is the one before or the new one, and that an older one never takes the
//! place of a newer one: openraft builds one while another comes from the leader.
#![forbid(unsafe_code)]

use super::Pairs;
use crate::TypeConfig;
use crate::files;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

const FILE: &str = "snapshot";

#[derive(Debug)]
pub(super) struct Snapshots {
    dir: PathBuf,
    /// Held while the file is written, so that file and memory are one.
    last: Mutex<Option<SnapshotOf<TypeConfig, Pairs>>>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    meta: SnapshotMetaOf<TypeConfig>,
    pairs: Pairs,
}

impl Snapshots {
    pub(super) async fn open(dir: &Path) -> io::Result<Self> {
        let last = match ringwork::fs::read(dir.join(FILE)).await {
            Ok(bytes) => {
                let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the snapshot is damaged");
                let (on_disk, _) = files::open::<OnDisk>(&bytes).ok_or_else(damaged)?;
                Some(SnapshotOf::<TypeConfig, Pairs> { meta: on_disk.meta, snapshot: on_disk.pairs })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { dir: dir.to_owned(), last: Mutex::new(last) })
    }

    pub(super) async fn last(&self) -> Option<SnapshotOf<TypeConfig, Pairs>> {
        self.last.lock().await.clone()
    }

    /// Makes this the last snapshot, unless there is a newer one. If the future is dropped, it may have
    /// become the one on disk and not the one at hand; nothing depends on it until a restart mends it.
    pub(super) async fn keep(&self, snapshot: SnapshotOf<TypeConfig, Pairs>) -> io::Result<()> {
        let mut last = self.last.lock().await;
        if last.as_ref().is_some_and(|last| last.meta.last_log_id > snapshot.meta.last_log_id) {
            return Ok(());
        }
        let on_disk = OnDisk { meta: snapshot.meta.clone(), pairs: snapshot.snapshot.clone() };
        // The whole map becomes JSON: too long for a core that has elections to answer.
        let bytes = ringwork::spawn_heavy(move || {
            let mut bytes = Vec::new();
            files::seal(&on_disk, &mut bytes).map(|()| bytes)
        });
        let bytes = bytes.await.map_err(io::Error::from)??;
        files::replace(&self.dir, FILE, bytes).await?;
        *last = Some(snapshot);
        Ok(())
    }
}
