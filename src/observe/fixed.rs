//! A place of fixed size to write to: no piece that is written asks for memory.
//!
//! What does not fit is only counted; it is written again where there is room for all of it.

use super::json::Out;

/// See the module.
#[derive(Debug)]
pub(super) struct Fixed<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl Fixed<'_> {
    /// Appends what `write` writes, the same each time that it is asked: once if that is no more than `likely`, else twice.
    pub(super) fn append(out: &mut Vec<u8>, likely: usize, write: impl Fn(&mut Fixed<'_>)) {
        let (start, mut room) = (out.len(), likely);
        loop {
            out.resize(start + room, 0);
            let mut fixed = Fixed { room: &mut out[start..], at: 0 };
            write(&mut fixed);
            let length = fixed.at;
            if length <= room {
                return out.truncate(start + length);
            }
            room = length;
        }
    }
}

impl Out for Fixed<'_> {
    #[inline]
    fn text(&mut self, text: &str) {
        self.plain(text.as_bytes());
    }

    #[inline]
    fn ascii(&mut self, byte: u8) {
        if let Some(place) = self.room.get_mut(self.at) {
            *place = byte;
        }
        self.at += 1;
    }

    #[inline]
    fn plain(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(place) = self.room.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_is_appended_whole() {
        for pieces in 0..40 {
            let mut out = b"before ".to_vec();
            Fixed::append(&mut out, 16, |out| {
                for piece in 0..pieces {
                    out.text("ab");
                    out.ascii(b'0' + piece % 10);
                }
            });
            let wanted: String = (0..pieces).map(|piece| format!("ab{}", piece % 10)).collect();
            assert_eq!(out, format!("before {wanted}").into_bytes());
        }
    }
}
