//! Asks threads whether they still turn: each answers from a task of its own runtime. Who is not asked is not woken.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// The threads, by name.
#[derive(Debug, Default)]
pub(super) struct Pulses(Vec<(String, mpsc::Sender<oneshot::Sender<()>>)>);

/// A thread's side: to be run on it.
#[derive(Debug)]
pub(super) struct Pulse(mpsc::Receiver<oneshot::Sender<()>>);

impl Pulses {
    /// One more thread.
    pub(super) fn add(&mut self, name: &str) -> Pulse {
        // One question waits at most: a thread that is stuck gathers none.
        let (ask, asked) = mpsc::channel(1);
        self.0.push((name.to_owned(), ask));
        Pulse(asked)
    }

    /// The names of those that have not answered within this time. A thread that has ended counts as silent.
    pub(super) async fn silent(&self, within: Duration) -> Vec<String> {
        let end = Instant::now() + within;
        let ask = |ask: &mpsc::Sender<oneshot::Sender<()>>| {
            let (answer, answered) = oneshot::channel();
            ask.try_send(answer).is_ok().then_some(answered)
        };
        let asked: Vec<_> = self.0.iter().map(|(name, to)| (name, ask(to))).collect();
        let mut silent = Vec::new();
        for (name, answered) in asked {
            let answered = match answered {
                Some(answered) => timeout_at(end, answered).await.is_ok_and(|answer| answer.is_ok()),
                None => false,
            };
            if !answered {
                silent.push(name.clone());
            }
        }
        silent
    }
}

impl Pulse {
    /// Answers for as long as anybody may ask.
    pub(super) async fn answer(mut self) {
        while let Some(answer) = self.0.recv().await {
            // Who asked may have given up.
            let _ = answer.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_turn_is_named() {
        let mut pulses = Pulses::default();
        let (one, two) = (pulses.add("one"), pulses.add("two"));
        tokio::spawn(one.answer());
        let within = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(pulses.silent(within).await, ["two"]);
        }
        tokio::spawn(two.answer());
        tokio::task::yield_now().await;
        assert_eq!(pulses.silent(within).await, [""; 0]);
    }
}
