//! What was said of files lately, by one core.
//!
//! Teaches: what a request costs beside its system calls. Where no file is kept open, dates, tag and fields
//! are still the same as long as the file is, and writing them takes longer than finding them again.
//! Promises: what is given out is what [`Facts::new`] makes of the same file; at most [`SLOTS`] are kept.
//! It keeps no descriptor and trusts no name: a file is known by what the kernel has just said of it.

use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use crate::answer::Facts;

/// The facts of one core. A file has one place, and the last one there stays.
#[derive(Default)]
pub(crate) struct Told {
    slots: Vec<Option<Rc<Facts>>>,
}

impl Told {
    /// The facts of a file with this metadata; the path only says what its bytes mean.
    pub(crate) fn facts(&mut self, path: &Path, len: u64, modified: SystemTime, inode: u64) -> Rc<Facts> {
        self.slots.resize(SLOTS, None);
        let slot = &mut self.slots[inode as usize % SLOTS];
        match slot {
            Some(facts) if facts.are_of(path, len, modified, inode) => Rc::clone(facts),
            _ => Rc::clone(slot.insert(Rc::new(Facts::new(path, len, modified, inode, SystemTime::now())))),
        }
    }
}

const SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_that_is_the_same_is_told_the_same() {
        let mut told = Told::default();
        let first = told.facts(Path::new("a.txt"), 1, at(5), 7);
        assert!(Rc::ptr_eq(&first, &told.facts(Path::new("b/c.txt"), 1, at(5), 7)));
    }

    #[test]
    fn whatever_has_changed_is_told_anew() {
        let mut told = Told::default();
        let other =
            [("a.txt", 2, 5, 7), ("a.txt", 1, 6, 7), ("a.txt", 1, 5, 7 + SLOTS as u64), ("a.html", 1, 5, 7)];
        for (path, len, modified, inode) in other {
            let first = told.facts(Path::new("a.txt"), 1, at(5), 7);
            let second = told.facts(Path::new(path), len, at(modified), inode);
            assert_ne!(first, second, "{path} {len} {modified} {inode}");
            assert_eq!(*second, Facts::new(Path::new(path), len, at(modified), inode, SystemTime::now()));
        }
    }

    #[test]
    fn a_file_of_the_future_is_not_remembered_as_of_now() {
        let (mut told, future) = (Told::default(), SystemTime::now() + Duration::from_secs(3600));
        let first = told.facts(Path::new("x"), 1, future, 1);
        assert!(!Rc::ptr_eq(&first, &told.facts(Path::new("x"), 1, future, 1)));
    }
}
