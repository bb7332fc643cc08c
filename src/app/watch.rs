//! `run --watch`: looks at the content of the config file, and says when it is another.
//!
//! What a name stands for is read anew each time, through every link, so that a file that is replaced and a link that
//! is turned to another folder (as Kubernetes turns it) are seen. A file that is still being written is waited for. It
//! reads, and changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::config::file;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A file that stays as it is for so long has been written to its end.
const SETTLED: Duration = Duration::from_millis(200);
/// Bytes of a config file, and more.
const MOST: u64 = 4 << 20;

/// From a refusal to the next try, and at the most.
const SOON: Duration = EVERY;
const LATE: Duration = Duration::from_secs(60);

/// A change of the file that was refused. What was in its way may go without another change: a port that somebody has, a
/// hand-over, a certificate that is written after the file. So it is tried again, less and less often.
#[derive(Debug)]
pub(super) struct Again {
    /// Why, as people were told.
    pub(super) told: String,
    pause: Duration,
    at: Instant,
}

impl Again {
    /// Refused for this reason just now; `before`: as it was before.
    pub(super) fn after(told: String, before: Option<Self>) -> Self {
        let pause = before.map_or(SOON, |before| (before.pause * 2).min(LATE));
        Self { told, pause, at: Instant::now() + pause }
    }

    /// Resolves when it is time for another try; never where nothing was refused.
    pub(super) async fn due(again: Option<&Self>) {
        match again {
            Some(again) => sleep_until(again.at).await,
            None => std::future::pending().await,
        }
    }
}

/// The file as it was last seen.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// `None`: it cannot be read.
    seen: Option<Vec<u8>>,
    /// When it is looked at again, also if who waits for that does something else meanwhile.
    next: Option<Instant>,
}

impl Watch {
    /// From its content now on.
    pub(super) fn new(path: PathBuf) -> Self {
        let seen = read(&path);
        Self { path, seen, next: None }
    }

    /// What is there now is known: somebody is about to load it.
    pub(super) fn look(&mut self) {
        self.seen = read(&self.path);
    }

    /// Resolves when there is another content than was last seen, or none any more; once for each.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep_until(*self.next.get_or_insert_with(|| Instant::now() + EVERY)).await;
            let mut now = read(&self.path);
            while now != self.seen {
                sleep(SETTLED).await;
                let later = read(&self.path);
                if later == now {
                    (self.seen, self.next) = (now, None);
                    return;
                }
                now = later;
            }
            self.next = None;
        }
    }
}

fn read(path: &std::path::Path) -> Option<Vec<u8>> {
    file::read(path, MOST).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    /// Ten looks, on a clock of the test's own.
    async fn changes(watch: &mut Watch) -> bool {
        timeout(EVERY * 10, watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn another_content_is_told_once_whatever_way_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("one", "1"), ("two", "2"), ("same", "2")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("causeway.toml"), text).unwrap();
        }
        let turn = |name: &str| {
            symlink(at(name), at("new")).unwrap();
            fs::rename(at("new"), at("data")).unwrap();
        };
        turn("one");
        symlink("data/causeway.toml", at("causeway.toml")).unwrap();
        let mut watch = Watch::new(at("causeway.toml"));
        assert!(!changes(&mut watch).await);
        turn("two");
        assert!(changes(&mut watch).await && !changes(&mut watch).await);
        turn("same");
        assert!(!changes(&mut watch).await, "another file, the same content");
        fs::remove_file(at("data")).unwrap();
        assert!(changes(&mut watch).await && !changes(&mut watch).await, "gone, told once");
        turn("one");
        assert!(changes(&mut watch).await);
        turn("two");
        watch.look();
        assert!(!changes(&mut watch).await, "somebody else has loaded it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_change_is_tried_again_less_and_less_often() {
        let (begun, mut again) = (Instant::now(), None);
        let mut tries = Vec::new();
        for _ in 0..8 {
            again = Some(Again::after("a port".to_owned(), again));
            Again::due(again.as_ref()).await;
            tries.push(begun.elapsed().as_secs());
        }
        assert_eq!(tries, [2, 6, 14, 30, 62, 122, 182, 242]);
        assert!(timeout(LATE * 10, Again::due(None)).await.is_err(), "nothing was refused");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_called_away_meanwhile_sees_it_as_soon() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("causeway.toml");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(file.clone());
        fs::write(&file, "2").unwrap();
        let begun = Instant::now();
        while timeout(EVERY * 3 / 4, watch.changed()).await.is_err() {
            assert!(begun.elapsed() < EVERY * 2, "put off each time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("causeway.toml");
        fs::write(&file, "").unwrap();
        let mut watch = Watch::new(file.clone());
        let writes = async {
            for size in 1..100 {
                fs::write(&file, vec![b'x'; size]).unwrap();
                sleep(SETTLED / 2).await;
            }
        };
        tokio::select! {
            biased;
            () = watch.changed() => panic!("half a file"),
            () = writes => {}
        }
        assert!(changes(&mut watch).await);
        assert_eq!(watch.seen.unwrap().len(), 99);
    }
}
