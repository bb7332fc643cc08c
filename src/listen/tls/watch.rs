//! Looks after the files of certificates, and takes up what is new: all or nothing of each pair, and with no connection
//! lost. It never ends before the process does, whatever it reads.
//!
//! A file is known by its [`Stamp`], so that a link that is turned to another file is seen, as Kubernetes turns it. Two
//! files are never written at once: what does not fit is told only when it is still so at the next look.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::{Live, Secure, new_tickets};
use crate::config::certificate::{Authorities, Pair, Stamp, stamp};
use crate::config::problem::Wrong;
use crate::observe::events;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What is known of a pair, or of the authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Watched {
    /// What is in force, or was refused and told.
    settled: Vec<Stamp>,
    /// What was refused once, and is told if it stays so.
    refused: Option<Vec<Stamp>>,
}

impl Secure {
    /// Looks at the files every few seconds, until the end.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut watched = self.known();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            // A disk may be slow, and whatever else runs on this thread may not wait for it.
            let (secure, before) = (Arc::clone(&self), watched.clone());
            match tokio::task::spawn_blocking(move || secure.look(before)).await {
                Ok(after) => watched = after,
                // It has told of itself, and the next look may go better.
                Err(ended) if ended.is_panic() => {}
                Err(_) => return,
            }
        }
    }

    /// What was read with the config.
    fn known(&self) -> Vec<Watched> {
        let settled = |stamps: &[Stamp]| Watched { settled: stamps.to_vec(), refused: None };
        let live = self.live.load();
        let pairs = live.pairs.iter().map(|pair| settled(&pair.stamps));
        pairs.chain(live.client_ca.iter().map(|authorities| settled(&[authorities.stamp]))).collect()
    }

    /// One look at all files.
    fn look(&self, mut watched: Vec<Watched>) -> Vec<Watched> {
        let live = self.live.load_full();
        let (mut pairs, mut client_ca, mut taken) = (live.pairs.clone(), live.client_ca.clone(), Vec::new());
        let mut all = watched.iter_mut();
        for (pair, watched) in pairs.iter_mut().zip(&mut all) {
            let read = || {
                whole(|| {
                    let first = |wrong: Vec<(_, Wrong)>| wrong.into_iter().next().map(|(_, wrong)| wrong);
                    Pair::read(&pair.cert, &pair.key).map_err(|wrong| first(wrong).unwrap_or_else(unread))
                })
            };
            match watched.turn(&[&pair.cert, &pair.key], read) {
                Some(Ok(new)) => {
                    taken.push((new.cert.clone(), Some(new.not_after)));
                    *pair = new;
                }
                Some(Err(wrong)) => self.refuse(&pair.cert, &wrong),
                None => {}
            }
        }
        let mut tickets = Arc::clone(&live.tickets);
        for (authorities, watched) in client_ca.iter_mut().zip(&mut all) {
            match watched.turn(&[&authorities.file], || whole(|| Authorities::read(&authorities.file))) {
                Some(Ok(new)) => {
                    // Who was let in by the old ones shows itself anew.
                    tickets = new_tickets().unwrap_or(tickets.clone());
                    taken.push((new.file.clone(), None));
                    *authorities = new;
                }
                Some(Err(wrong)) => self.refuse(&authorities.file, &wrong),
                None => {}
            }
        }
        if !taken.is_empty() {
            match Live::new(pairs, client_ca, tickets, &self.alpn) {
                Ok(new) => {
                    self.live.store(Arc::new(new));
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                    for (file, not_after) in taken {
                        let left = not_after.map(|end| (end - now.cast_signed()) / 86_400);
                        events::certificate_taken(&self.listener, &file, left);
                    }
                }
                Err(error) => {
                    let wrong = Wrong::new(error.to_string(), "");
                    taken.iter().for_each(|(file, _)| self.refuse(file, &wrong));
                }
            }
        }
        watched
    }

    fn refuse(&self, file: &Path, wrong: &Wrong) {
        events::certificate_refused(&self.listener, file, &wrong.message);
    }
}

/// Strangers write certificates: one that a reader of them stumbles over is one that cannot be read, and no more.
fn whole<T>(read: impl FnOnce() -> Result<T, Wrong>) -> Result<T, Wrong> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(unread()))
}

fn unread() -> Wrong {
    Wrong::new("it cannot be read", "")
}

impl Watched {
    /// What is new in these files, or why it is no good, once for each writing of them.
    fn turn<T, E>(&mut self, files: &[&Path], read: impl FnOnce() -> Result<T, E>) -> Option<Result<T, E>> {
        // Before the reading: what is written in between is seen by the next look.
        let stamps: Vec<Stamp> = files.iter().map(|file| stamp(file)).collect();
        if stamps == self.settled {
            self.refused = None;
            return None;
        }
        match read() {
            Err(_) if self.refused.as_ref() != Some(&stamps) => {
                self.refused = Some(stamps);
                None
            }
            read => {
                *self = Self { settled: stamps, refused: None };
                Some(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A panic is as any other refusal; and what comes after it is read.
    #[test]
    fn a_file_that_a_reader_stumbles_over_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "1").unwrap();
        let mut watched = Watched::default();
        let mut turn = |read: fn() -> Result<u8, Wrong>| watched.turn(&[&file], || whole(read));
        let stumble = || panic!("a strange certificate");
        assert_eq!(turn(stumble), None, "not before the next look");
        assert_eq!(turn(stumble).unwrap().unwrap_err().message, "it cannot be read");
        assert_eq!(turn(stumble), None, "once");
        fs::write(&file, "22").unwrap();
        assert_eq!(turn(|| Ok(1)), Some(Ok(1)));
    }

    #[test]
    fn a_refusal_is_told_once_and_only_when_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "1").unwrap();
        let mut watched = Watched { settled: vec![stamp(&file)], refused: None };
        let mut turn = |result: Result<u8, u8>| watched.turn(&[&file], || result);
        assert_eq!(turn(Err(0)), None, "unchanged: not read");
        fs::write(&file, "22").unwrap();
        assert_eq!((turn(Err(1)), turn(Err(2)), turn(Err(3))), (None, Some(Err(2)), None));
        fs::write(&file, "333").unwrap();
        assert_eq!((turn(Err(4)), turn(Ok(5)), turn(Ok(6))), (None, Some(Ok(5)), None));
        fs::remove_file(&file).unwrap();
        assert_eq!((turn(Err(7)), turn(Err(8)), turn(Err(9))), (None, Some(Err(8)), None));
    }
}
