//! One connection of the origin: raw reads, heads and bodies, FIN and RST.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Shared;

/// Of all that was read, so much is kept.
const KEPT: usize = 64 << 10;

/// A connection, and what was read too far.
pub(super) struct Wire<'a> {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
    pub(super) shared: &'a Shared,
}

impl Wire<'_> {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads once; an error at the end.
    pub(super) async fn read_some(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                self.shared.record.send_if_modified(|record| {
                    let room = KEPT.saturating_sub(record.raw.len());
                    record.raw.extend_from_slice(&chunk[..n.min(room)]);
                    false // nobody waits for bytes
                });
                Ok(())
            }
        }
    }

    /// Has something of what comes next.
    pub(super) async fn read_any(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { self.read_some().await } else { Ok(()) }
    }

    /// `None` at the end of the connection.
    pub(super) async fn read_head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if let Err(error) = self.read_some().await {
                return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
            }
        }
    }

    pub(super) async fn read_body(&mut self, head: &str) -> io::Result<Vec<u8>> {
        if let Some(length) = field(head, "content-length") {
            return self.take(length.parse().unwrap()).await;
        }
        let mut body = Vec::new();
        if field(head, "transfer-encoding").is_some() {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                body.extend(self.take(size).await?);
                while size == 0 {
                    if self.line().await?.is_empty() {
                        return Ok(body); // trailers are left out
                    }
                }
                self.line().await?;
            }
        }
        Ok(body)
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.read_some().await?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2).await?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read_some().await?;
        }
    }

    /// Reads and forgets until the other side closes.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        while self.read_some().await.is_ok() {
            self.buffer.clear();
        }
        Ok(())
    }

    /// FIN, then waits for the other side's.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        self.shared.record.send_modify(|record| record.closed += 1);
        self.drain().await
    }

    /// RST.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
