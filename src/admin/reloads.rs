//! What came of reloads: counted, and how the last one ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Characters that are kept of a reason.
const WHY: usize = 8000;

/// See the module.
#[derive(Debug)]
pub(super) struct Reloads(Mutex<Standing>);

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// When the configuration in force was loaded.
    pub(super) loaded: SystemTime,
    pub(super) succeeded: u64,
    pub(super) unsuccessful: u64,
    /// The last one, if it did not succeed.
    pub(super) failed: Option<Failed>,
}

/// A reload that left everything as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) at: SystemTime,
    /// What a person reads.
    pub(super) why: String,
}

impl Reloads {
    /// None yet; the configuration in force was loaded then.
    pub(super) const fn new(loaded: SystemTime) -> Self {
        Self(Mutex::new(Standing { loaded, succeeded: 0, unsuccessful: 0, failed: None }))
    }

    /// One has ended; an error says why it changed nothing.
    pub(super) fn ended(&self, came: Result<(), &str>, at: SystemTime) {
        let mut standing = self.lock();
        match came {
            Ok(()) => {
                standing.succeeded += 1;
                standing.loaded = at;
                standing.failed = None;
            }
            Err(why) => {
                standing.unsuccessful += 1;
                let why = why.trim_end();
                let end = why.char_indices().nth(WHY).map_or(why.len(), |(end, _)| end);
                standing.failed = Some(Failed { at, why: why[..end].to_owned() });
            }
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_one_counts_and_all_are_counted() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let reloads = Reloads::new(at(1));
        assert_eq!(reloads.standing(), Standing { loaded: at(1), succeeded: 0, unsuccessful: 0, failed: None });
        reloads.ended(Err("a line\n"), at(2));
        let Standing { loaded, failed, .. } = reloads.standing();
        assert_eq!((loaded, failed), (at(1), Some(Failed { at: at(2), why: "a line".into() })));
        reloads.ended(Ok(()), at(3));
        assert_eq!(reloads.standing(), Standing { loaded: at(3), succeeded: 1, unsuccessful: 1, failed: None });
    }
}
