//! Where a client's frames begin and end (RFC 9113 §4.1), for the clocks: is a head half there, and was the first frame
//! the SETTINGS that it must be? Pure; what frames mean is h2's business.

/// Behind the preface, which is passed over.
const PREFACE: usize = 24;
const HEADER: usize = 9;

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    /// To be passed over before the next frame header.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    /// The frame that is passed over holds a head, and ends it.
    ends_head: bool,
    head_open: bool,
    heads: u64,
    settled: bool,
    refused: bool,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            have: 0,
            ends_head: false,
            head_open: false,
            heads: 0,
            settled: false,
            refused: false,
        }
    }

    /// These bytes have come.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.refused {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                bytes = &bytes[step..];
                self.skip -= step;
                self.payload_ended();
                continue;
            }
            let step = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            (bytes, self.have) = (&bytes[step..], self.have + step);
            if self.have == HEADER {
                self.have = 0;
                self.begins();
            }
        }
    }

    fn begins(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        if !self.settled {
            self.settled = kind == SETTINGS && flags & ACK == 0;
            self.refused = !self.settled;
        }
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.heads += u64::from(kind == HEADERS);
            self.head_open = true;
            self.ends_head = flags & END_HEADERS != 0;
            self.payload_ended();
        }
    }

    fn payload_ended(&mut self) {
        if self.skip == 0 && self.ends_head {
            (self.head_open, self.ends_head) = (false, false);
        }
    }

    /// The first frame came, and it was SETTINGS.
    pub(super) const fn settled(&self) -> bool {
        self.settled
    }

    /// The first frame was another one: nothing that follows is looked at.
    pub(super) const fn refused(&self) -> bool {
        self.refused
    }

    /// Has a head begun that is not complete?
    pub(super) const fn head_open(&self) -> bool {
        self.head_open
    }

    /// Heads that have begun.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER + length, 0x15);
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_come(sizes in prop::collection::vec(1usize..40, 0..40)) {
            let mut bytes = vec![b'p'; PREFACE];
            for (kind, flags, length) in [(SETTINGS, 0, 6), (HEADERS, 0, 20), (CONTINUATION, 0, 0), (CONTINUATION, END_HEADERS, 7), (0, 1, 300)] {
                bytes.extend(frame(kind, flags, length));
            }
            let open_at = |at: usize| (PREFACE + 15 + HEADER..PREFACE + 15 + 29 + 9 + 16).contains(&at);
            let (mut frames, mut at) = (Frames::new(), 0);
            for size in sizes.into_iter().chain([bytes.len()]) {
                let to = (at + size).min(bytes.len());
                frames.read(&bytes[at..to]);
                at = to;
                prop_assert_eq!(frames.settled(), at >= PREFACE + HEADER);
                prop_assert_eq!(frames.head_open(), open_at(at), "at {}", at);
                prop_assert!(!frames.refused());
            }
            prop_assert_eq!(frames.heads(), 1);
        }
    }

    #[test]
    fn the_first_frame_must_be_settings() {
        for first in [frame(HEADERS, END_HEADERS, 3), frame(SETTINGS, ACK, 0), frame(0, 0, 0)] {
            let mut frames = Frames::new();
            frames.read(&[&[b'p'; PREFACE][..], &first].concat());
            assert!(frames.refused() && !frames.settled());
        }
    }
}
