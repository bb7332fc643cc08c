//! A message on its way out: text, and contents by their length or in chunks (RFC 9112 §7.1), in order, with as few
//! copies and writes as it takes.
//!
//! It is bounded by whoever fills it: nothing is to be put while there is no room.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::chunks::may_trail;
use super::text::{Text, hex};

/// Up to this, content is copied behind what waits before it: cheaper than a place in a list.
const SMALL: usize = 4 << 10;
/// So much text is gathered for one write,
const TEXT: usize = 16 << 10;
/// so much content,
const CONTENT: usize = 64 << 10;
/// and so many pieces of it.
const PIECES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    text: Text,
    /// So much of the text is written.
    at: usize,
    /// Contents, each with its place: behind so much of the text.
    contents: VecDeque<(usize, Bytes)>,
    /// Bytes of them.
    held: usize,
}

impl Outbox {
    /// With this to be written first.
    pub(crate) fn of(text: Text) -> Self {
        Self { text, ..Self::default() }
    }

    /// Is all of it written?
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.text.len() && self.contents.is_empty()
    }

    /// Bytes that are to be written.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.text.len() - self.at + self.held
    }

    /// May more be put? What was written of the text counts until all is: its room is free only then.
    pub(crate) fn has_room(&self) -> bool {
        self.is_empty() || self.text.len() < TEXT && self.held < CONTENT && self.contents.len() < PIECES
    }

    /// To put text behind what waits.
    pub(crate) fn text(&mut self) -> &mut Text {
        if self.is_empty() {
            self.text.clear();
            self.at = 0;
        }
        &mut self.text
    }

    /// Puts content as it is.
    pub(crate) fn data(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            return self.text().put([&data]);
        }
        let place = self.text().len();
        self.held += data.len();
        self.contents.push_back((place, data));
    }

    /// Puts content as a chunk. An empty one would be the last.
    pub(crate) fn chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut digits = [0; 16];
        let size = hex(data.len(), &mut digits);
        if data.len() <= SMALL {
            return self.text().put([size, b"\r\n", &data, b"\r\n"]);
        }
        self.text().put([size, b"\r\n"]);
        self.data(data);
        self.text().put([b"\r\n"]);
    }

    /// Puts the last chunk.
    pub(crate) fn last_chunk(&mut self) {
        self.text().put([b"0\r\n\r\n"]);
    }

    /// The same, and those of these fields behind it that may stand there.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        let text = self.text();
        text.put([b"0\r\n"]);
        for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
            text.field(name, value);
        }
        text.put([b"\r\n"]);
    }

    /// Writes once; how much was taken is forgotten here.
    pub(crate) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        let text = self.text.as_slice();
        let written = match self.contents.front() {
            None => io.poll_write(cx, &text[self.at..]),
            Some((place, content)) if !io.is_write_vectored() => {
                io.poll_write(cx, if self.at < *place { &text[self.at..*place] } else { content })
            }
            Some((place, content)) if self.contents.len() == 1 => {
                let list = [&text[self.at..*place], content, &text[*place..]];
                io.poll_write_vectored(cx, &list.map(IoSlice::new))
            }
            Some(_) => {
                let mut list = [IoSlice::new(&[]); 2 * PIECES + 1];
                let (mut at, mut count) = (self.at, 0);
                for (place, content) in self.contents.iter().take(PIECES) {
                    list[count] = IoSlice::new(&text[at..*place]);
                    list[count + 1] = IoSlice::new(content);
                    (at, count) = (*place, count + 2);
                }
                list[count] = IoSlice::new(&text[at..]);
                io.poll_write_vectored(cx, &list[..=count])
            }
        };
        written.map(|written| match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.took(count);
                Ok(count)
            }
            Err(error) => Err(error),
        })
    }

    fn took(&mut self, mut count: usize) {
        while let Some((place, content)) = self.contents.front_mut() {
            let of_text = count.min(*place - self.at);
            self.at += of_text;
            count -= of_text;
            let of_content = count.min(content.len());
            count -= of_content;
            self.held -= of_content;
            content.advance(of_content);
            if !content.is_empty() {
                return;
            }
            self.contents.pop_front();
        }
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that comes out, with a socket that takes so many bytes at a time.
    fn written(outbox: &mut Outbox, at_once: usize) -> (String, usize) {
        struct Taker(Vec<u8>, usize);
        impl AsyncWrite for Taker {
            fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                let taken = buf.len().min(self.1);
                self.0.extend_from_slice(&buf[..taken]);
                Poll::Ready(Ok(taken))
            }
            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
                let taken = all.len().min(self.1);
                self.0.extend_from_slice(&all[..taken]);
                Poll::Ready(Ok(taken))
            }
            fn is_write_vectored(&self) -> bool {
                true
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let (mut io, mut writes) = (Taker(Vec::new(), at_once), 0);
        while !outbox.is_empty() {
            assert!(outbox.poll_write(&mut io, &mut Context::from_waker(std::task::Waker::noop())).is_ready());
            writes += 1;
        }
        (String::from_utf8(io.0).unwrap(), writes)
    }

    #[test]
    fn what_was_put_comes_out_in_order_however_little_is_taken_at_a_time() {
        let long = "l".repeat(SMALL + 1);
        for at_once in [1, 7, usize::MAX] {
            let mut outbox = Outbox::default();
            outbox.text().put([b"head\r\n\r\n"]);
            outbox.chunk(Bytes::from_static(b"hello"));
            outbox.chunk(Bytes::new());
            outbox.chunk(Bytes::from(long.clone()));
            outbox.chunk(Bytes::from(long.clone()));
            outbox.last_chunk();
            let (text, writes) = written(&mut outbox, at_once);
            assert_eq!(text, format!("head\r\n\r\n5\r\nhello\r\n1001\r\n{long}\r\n1001\r\n{long}\r\n0\r\n\r\n"));
            assert!(outbox.has_room() && (at_once < usize::MAX || writes == 1));
            outbox.data(Bytes::from_static(b"plain"));
            outbox.data(Bytes::from(long.clone()));
            assert_eq!(written(&mut outbox, at_once).0, format!("plain{long}"));
        }
    }

    #[test]
    fn only_what_may_trail_does() {
        let mut outbox = Outbox::default();
        let fields = [("x-sum", "1"), ("content-length", "9"), ("x-more", "2")];
        let trailers = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        outbox.trailers(&trailers);
        assert_eq!(written(&mut outbox, usize::MAX).0, "0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n");
    }

    #[test]
    fn a_socket_that_never_takes_all_lets_nothing_pile_up() {
        struct Half;
        impl AsyncWrite for Half {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(buf.len().div_ceil(2)))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            if outbox.has_room() {
                outbox.chunk(Bytes::from_static(&[b'x'; 1000]));
            }
            let _ = outbox.poll_write(&mut Half, &mut Context::from_waker(std::task::Waker::noop()));
            assert!(outbox.text.len() < TEXT + SMALL);
        }
    }

    #[test]
    fn what_is_large_is_gathered_up_to_a_bound() {
        for (length, most) in [(SMALL + 1, 16), (CONTENT, 1), (CONTENT / 2, 2)] {
            let (mut outbox, mut put) = (Outbox::default(), 0);
            while outbox.has_room() {
                outbox.chunk(Bytes::from(vec![b'x'; length]));
                put += 1;
            }
            assert_eq!(put, most, "{length}");
            assert_eq!(written(&mut outbox, usize::MAX).1, 1);
            assert!(outbox.is_empty() && outbox.held == 0);
        }
    }

    #[test]
    fn what_is_small_is_gathered_up_to_a_bound() {
        let mut outbox = Outbox::default();
        let mut put = 0;
        while outbox.has_room() {
            outbox.data(Bytes::from(vec![b'x'; SMALL]));
            put += 1;
        }
        assert_eq!(put, TEXT / SMALL);
        assert_eq!(written(&mut outbox, usize::MAX).1, 1);
    }
}
