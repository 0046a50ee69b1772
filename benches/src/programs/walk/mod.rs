//! Programs that walk a tree of folders and look at every file, over and over. The walk is written once; a
//! peer's file says how its runtime lists a folder and asks for a file's metadata: with its own calls, or, as
//! `Batched`, so that one job of its pool looks at all that is in a folder: with the standard library's
//! calls, or where a runtime has one call for it, with that. Several walkers
//! share the folders of one round.

#[cfg(feature = "ringwork")]
pub(super) mod ringwork;
pub(super) mod smol;
pub(super) mod std;
pub(super) mod tokio;

use ::std::cell::{Cell, RefCell};
use ::std::io;
use ::std::path::{Path, PathBuf};
use ::std::rc::Rc;
use ::std::time::Instant;

use super::local::Local;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::tree;

/// A way to look at folders.
pub(crate) trait Walk: 'static {
    /// Whose tasks the walkers are.
    type Runtime: Local;

    /// Lists a folder: the folders in it, and the sizes of the files in it.
    fn look(folder: PathBuf) -> impl Future<Output = io::Result<Seen>>;
}

/// What is in a folder.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What the walkers of a round share.
struct Round {
    to_do: RefCell<Vec<PathBuf>>,
    files: Cell<u64>,
    bytes: Cell<u64>,
    failed: RefCell<Option<io::Error>>,
}

/// Walks as planned and prints what it cost per file.
pub(crate) fn run<W: Walk>(plan: &Plan) -> io::Result<()> {
    let (root, walkers, times) =
        (plan.need::<PathBuf>("root")?, plan.need::<usize>("walkers")?, plan.times()?);
    W::Runtime::run(move || async move {
        let mut meter = Meter::new(times);
        loop {
            let begun = Instant::now();
            walk::<W>(&root, walkers).await?;
            if !meter.tick(tree::FILES, Some(begun)) {
                return Ok::<_, io::Error>(meter);
            }
        }
    })??
    .print()
}

/// One round: every folder is looked at once. Fails unless all that is there was seen.
async fn walk<W: Walk>(root: &Path, walkers: usize) -> io::Result<()> {
    let top = W::look(root.to_owned()).await?;
    let round = Rc::new(Round {
        to_do: RefCell::new(top.folders),
        files: Cell::new(top.files),
        bytes: Cell::new(top.bytes),
        failed: RefCell::new(None),
    });
    let start = |_| W::Runtime::spawn(walker::<W>(Rc::clone(&round)));
    let tasks: Vec<_> = (0..walkers).map(start).collect();
    for task in tasks {
        task.await;
    }
    if let Some(error) = round.failed.take() {
        return Err(error);
    }
    tree::check(round.files.get(), round.bytes.get())
}

async fn walker<W: Walk>(round: Rc<Round>) {
    loop {
        // Out of the borrow before anything is awaited.
        let folder = round.to_do.borrow_mut().pop();
        let Some(folder) = folder else { return };
        match W::look(folder).await {
            Ok(seen) => {
                round.to_do.borrow_mut().extend(seen.folders);
                round.files.set(round.files.get() + seen.files);
                round.bytes.set(round.bytes.get() + seen.bytes);
            }
            Err(error) => *round.failed.borrow_mut() = Some(error),
        }
    }
}
