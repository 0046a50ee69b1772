//! The files of the root: from a decoded path to an open file, a listing, or a status.
//!
//! Teaches: confinement by the kernel. Every file is opened through [`Dir::open_file`], which resolves the
//! path beneath the root's descriptor; a link or a race that would lead outside fails in the kernel, so there
//! is no check here that could be passed and outrun. A pipe or device in the tree is opened without waiting,
//! looked at and let go.
//! Promises: no call here waits for anything but a disk; at most one open file more than there are requests
//! and cache entries.
//! It does not decide what to say about a file (`answer.rs`) nor send it (`body.rs`).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringwork::fs::{Dir, File};

use crate::cache::{Cache, Entry};
use crate::listing;
use crate::path::SitePath;
use crate::response::Status;
use crate::told::Told;

/// An open file with what is known about it.
pub(crate) type OpenFile = Rc<Entry<File>>;

/// What a path leads to.
pub(crate) enum Found {
    File(OpenFile),
    /// A folder's page.
    Listing(String),
    /// A folder whose name lacked the slash at the end.
    Folder,
}

/// The root as one core sees it. The descriptor is shared by all cores, the cache belongs to this one.
pub(crate) struct Site {
    root: Dir,
    cache: RefCell<Cache<File>>,
    told: RefCell<Told>,
    /// A task that closes stale files is alive.
    sweeping: Cell<bool>,
}

impl Site {
    pub(crate) fn new(root: Dir, cache: Cache<File>) -> Rc<Site> {
        let told = RefCell::default();
        Rc::new(Site { root, cache: RefCell::new(cache), told, sweeping: Cell::new(false) })
    }

    /// What `path` names, if it is a file that is open already: the usual case, and no wait.
    pub(crate) fn find_open(&self, path: &SitePath, now: Instant) -> Option<OpenFile> {
        let index = path.folder.then(|| path.index());
        let key = key(index.as_ref().unwrap_or(path));
        self.cache.borrow_mut().find(key, now)
    }

    /// The same, if the file is still what it was when it was looked up: it may have been written to since,
    /// and then its bytes are no longer those that its tag stands for. Such a file is let go.
    async fn find_unchanged(&self, path: &SitePath, now: Instant) -> Option<OpenFile> {
        let file = self.find_open(path, now)?;
        let index = path.folder.then(|| path.index());
        let name = index.as_ref().unwrap_or(path);
        if let Ok(metadata) = file.file.metadata().await
            && let Ok(modified) = metadata.modified()
            && file.facts.are_of(name.relative(), metadata.len(), modified, metadata.ino())
        {
            return Some(file);
        }
        self.cache.borrow_mut().forget(key(name));
        None
    }

    /// Finds what `path` names, as it is now; the error is the status to answer with.
    pub(crate) async fn find(self: &Rc<Self>, path: &SitePath, now: Instant) -> Result<Found, Status> {
        if let Some(file) = self.find_unchanged(path, now).await {
            return Ok(Found::File(file));
        }
        if !path.folder {
            return self.open(path).await;
        }
        match self.open(&path.index()).await {
            Ok(Found::Folder) | Err(Status::NotFound) => self.list(path).await,
            found => found,
        }
    }

    /// Opens the file at `path` and keeps it in the cache; [`Found::Folder`] if it is a folder.
    async fn open(self: &Rc<Self>, path: &SitePath) -> Result<Found, Status> {
        let checked_at = Instant::now();
        let file = self.open_beneath(path.relative()).await?;
        let metadata = file.metadata().await.map_err(|error| status_of(&error))?;
        if metadata.is_dir() {
            return Ok(Found::Folder);
        }
        if !metadata.is_file() {
            return Err(Status::Forbidden);
        }
        let modified = metadata.modified().map_err(|error| status_of(&error))?;
        let facts = self.told.borrow_mut().facts(path.relative(), metadata.len(), modified, metadata.ino());
        let entry = Rc::new(Entry { file, facts, checked_at });
        self.cache.borrow_mut().insert(key(path), Rc::clone(&entry));
        self.sweep_later();
        Ok(Found::File(entry))
    }

    /// The page for a folder. The ring cannot read folders, so a thread of the blocking pool does.
    async fn list(&self, path: &SitePath) -> Result<Found, Status> {
        let folder = self.open_beneath(path.relative()).await?;
        let metadata = folder.metadata().await.map_err(|error| status_of(&error))?;
        if !metadata.is_dir() {
            return Err(Status::NotFound);
        }
        let place = path.clone();
        let page = ringwork::spawn_blocking(move || {
            // Through the open descriptor: whatever is renamed meanwhile, this is the folder that was found
            // beneath the root.
            listing::page(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())), &place)
        });
        match page.await {
            Ok(page) => page.map(Found::Listing).map_err(|error| status_of(&error)),
            Err(_panicked_or_shut_down) => Err(Status::InternalServerError),
        }
    }

    async fn open_beneath(&self, path: &Path) -> Result<File, Status> {
        match self.root.open_file(path).await {
            Err(error) if is_out_of_descriptors(&error) => {
                // Files kept open for later are worth less than the one asked for now.
                self.cache.borrow_mut().clear();
                self.root.open_file(path).await.map_err(|error| status_of(&error))
            }
            opened => opened.map_err(|error| status_of(&error)),
        }
    }

    /// Sees to it that files nobody asks for again are closed. The task ends when the cache is empty: an idle
    /// server has no timer.
    fn sweep_later(self: &Rc<Self>) {
        if self.cache.borrow().is_empty() || self.sweeping.replace(true) {
            return;
        }
        let site = Rc::downgrade(self);
        // Dropping the handle lets the task go its own way.
        drop(ringwork::spawn_local(async move {
            loop {
                ringwork::time::sleep(SWEEP_EVERY).await;
                let Some(site) = site.upgrade() else { return };
                site.cache.borrow_mut().sweep(Instant::now());
                if site.cache.borrow().is_empty() {
                    site.sweeping.set(false);
                    return;
                }
            }
        }));
    }
}

/// A file is known by the name under which it is opened.
fn key(path: &SitePath) -> &[u8] {
    path.relative().as_os_str().as_bytes()
}

/// How long a file may stay open after the last request for it, beyond `--cache`.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The status for a file that cannot be opened or read.
fn status_of(error: &io::Error) -> Status {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP) => Status::NotFound,
        // EXDEV: the path leads out of the root. ENXIO, ENODEV: a socket, or a device without a driver.
        Some(libc::EACCES | libc::EPERM | libc::EXDEV | libc::ENXIO | libc::ENODEV) => Status::Forbidden,
        Some(libc::ENOMEM | libc::EAGAIN) => Status::ServiceUnavailable,
        _ if is_out_of_descriptors(error) => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
