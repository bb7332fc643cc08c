//! When a connection that is waited on is asked whether it still lives (PING, RFC 9113 §6.7). Pure: it counts beats,
//! one a second.

use std::time::Duration;

/// A first question after so many silent beats.
const FIRST: u32 = 20;
/// The next one, while nothing but answers to it came: servers of gRPC take more than one in five minutes for an
/// attack.
const NEXT: u32 = 330;
/// How long an answer may take.
const PATIENCE: u32 = 10;

/// So long a connection was silent, at the least, once it is known to be dead.
pub(super) const SILENCE: Duration = Duration::from_secs((FIRST + PATIENCE) as u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    read: u64,
    quiet: u32,
    due: u32,
    asked: bool,
}

/// What follows a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    /// Ask.
    Ask,
    /// The answer did not come: it is dead.
    Dead,
}

impl Pulse {
    pub(super) const fn new() -> Self {
        Self { read: 0, quiet: 0, due: FIRST, asked: false }
    }

    /// One beat later. `read`: bytes that have come by now. `waited`: somebody waits for more.
    pub(super) fn beat(&mut self, read: u64, waited: bool) -> Beat {
        if read != self.read {
            *self = Self { read, ..Self::new() };
        }
        if !waited && !self.asked {
            self.quiet = 0;
            return Beat::Nothing;
        }
        self.quiet += 1;
        match self.asked {
            true if self.quiet > PATIENCE => Beat::Dead,
            false if self.quiet >= self.due => {
                (self.quiet, self.asked) = (0, true);
                Beat::Ask
            }
            _ => Beat::Nothing,
        }
    }

    /// The answer is here; it is among the bytes that have come by now.
    pub(super) fn answered(&mut self, read: u64) {
        *self = Self { read, quiet: 0, due: NEXT, asked: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats until something happens.
    fn until(pulse: &mut Pulse, read: u64, waited: bool) -> (u32, Beat) {
        (1..1000).map(|beat| (beat, pulse.beat(read, waited))).find(|(_, beat)| *beat != Beat::Nothing).unwrap()
    }

    #[test]
    fn a_silent_one_is_asked_once_and_seldom_again() {
        let mut pulse = Pulse::new();
        assert_eq!(until(&mut pulse, 9, true), (FIRST, Beat::Ask));
        pulse.answered(26);
        assert_eq!(until(&mut pulse, 26, true), (NEXT, Beat::Ask));
        pulse.answered(43);
        assert_eq!(pulse.beat(100, true), Beat::Nothing, "an answer of the app's");
        assert_eq!(until(&mut pulse, 100, true), (FIRST - 1, Beat::Ask));
        assert_eq!(until(&mut pulse, 100, true), (PATIENCE + 1, Beat::Dead));
    }

    #[test]
    fn one_that_nobody_waits_for_is_left_alone() {
        let mut pulse = Pulse::new();
        assert!((0..1000).all(|_| pulse.beat(9, false) == Beat::Nothing));
    }
}
