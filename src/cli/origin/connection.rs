//! One connection of an origin: request after request, answered well or badly, as the behaviour says at that moment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::fault::{Fault, Stage, choose};
use super::request::{Framing, Head, Wire};
use super::{Behaviour, Shared, answer};

/// What large bodies are made of: lines of 64 bytes.
static FILLER: [u8; 64 << 10] = filler();
/// How long an origin that never reads keeps a connection.
const DEAF: Duration = Duration::from_secs(600);
/// `request_timeout`: bytes at ten a second, so 100 minutes; few enough for a proxy to hold the answer back.
const DRIP: u64 = 60_000;
/// `response_head_too_large`: fields of 8 KiB, past the largest limit that can be configured (16 MiB).
const HUGE_FIELDS: usize = 17 << 7;

/// Serves a connection to its end. Errors end it: the other side left, or broke the rules.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    if roll(&shared.behaviour.load(), Stage::Connection) == Some(Fault::ConnectReset) {
        let _ = stream.set_zero_linger();
        return;
    }
    let mut connection = Connection { wire: Wire::new(stream), out: Vec::with_capacity(1024), first: true };
    loop {
        match connection.exchange(&shared).await {
            Ok(true) => connection.first = false,
            Ok(false) => return,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    let _ = connection.refuse(&error).await;
                }
                return;
            }
        }
    }
}

struct Connection {
    wire: Wire,
    out: Vec<u8>,
    /// No request was answered on it yet.
    first: bool,
}

impl Connection {
    /// One request and its answer; `false` when the connection is to end.
    async fn exchange(&mut self, shared: &Shared) -> io::Result<bool> {
        let Some(head) = self.wire.head().await? else { return Ok(false) };
        let framing = head.framing().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "bad Content-Length"))?;
        let behaviour = shared.behaviour.load_full();
        let fault = self.fault(&behaviour, &head, framing);
        if fault == Some(Fault::WriteTimeout) {
            sleep(DEAF).await;
            return Ok(false);
        }
        if framing != Framing::Length(0) && head.has_token("expect", "100-continue") {
            self.wire.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let received = self.wire.skip_body(framing).await?;
        if !behaviour.delay.is_zero() {
            sleep(behaviour.delay).await;
        }
        match fault {
            None => self.answer(&behaviour, &head, received).await,
            Some(Fault::HealthStatus) => self.say(&behaviour, &head, 503, b"unwell\n").await,
            Some(Fault::HealthBody) => self.say(&behaviour, &head, 200, b"unwell\n").await,
            Some(fault) => self.fail(fault, &behaviour).await.map(|()| false),
        }
    }

    /// The fault for this request, if it is to have one that makes sense for it.
    fn fault(&self, behaviour: &Behaviour, head: &Head, framing: Framing) -> Option<Fault> {
        let health = if head.path() == b"/healthz" { roll(behaviour, Stage::Health) } else { None };
        health.or_else(|| roll(behaviour, Stage::Request)).filter(|fault| match fault {
            Fault::StaleConnection => !self.first,
            Fault::WriteTimeout => framing != Framing::Length(0),
            _ => true,
        })
    }

    async fn answer(&mut self, behaviour: &Behaviour, head: &Head, received: u64) -> io::Result<bool> {
        if head.path() == b"/healthz" {
            return self.say(behaviour, head, 200, b"ok\n").await;
        }
        if head.path() == b"/events" && &*head.method == b"GET" {
            return self.events(behaviour, head).await.map(|()| false);
        }
        if head.has_token("connection", "upgrade") && head.has_token("upgrade", "echo") {
            self.wire.stream.write_all(SWITCHING).await?;
            return self.wire.echo().await.map(|()| false);
        }
        let Some(size) = behaviour.size else {
            let page = answer::page(behaviour, head, received);
            return self.write(behaviour, head, behaviour.status, page.content_type, &page.body).await;
        };
        let small = usize::try_from(size).ok().and_then(|size| FILLER.get(..size));
        if let Some(body) = small {
            return self.write(behaviour, head, behaviour.status, "text/plain", body).await;
        }
        let keep = head.keep_alive();
        self.out.clear();
        answer::head(&mut self.out, &behaviour.name, behaviour.status, Some(size), "text/plain", keep);
        self.wire.stream.write_all(&self.out).await?;
        if has_body(head, behaviour.status) {
            self.fill(size).await?;
        }
        Ok(keep)
    }

    async fn say(&mut self, behaviour: &Behaviour, head: &Head, status: u16, body: &[u8]) -> io::Result<bool> {
        self.write(behaviour, head, status, "text/plain; charset=utf-8", body).await
    }

    /// A whole answer in one write.
    async fn write(&mut self, to: &Behaviour, head: &Head, status: u16, kind: &str, body: &[u8]) -> io::Result<bool> {
        let keep = head.keep_alive();
        self.out.clear();
        answer::head(&mut self.out, &to.name, status, Some(body.len() as u64), kind, keep);
        if has_body(head, status) {
            self.out.extend_from_slice(body);
        }
        self.wire.stream.write_all(&self.out).await?;
        Ok(keep)
    }

    /// Server-sent events, one a second, until the client leaves.
    async fn events(&mut self, behaviour: &Behaviour, head: &Head) -> io::Result<()> {
        self.out.clear();
        answer::head(&mut self.out, &behaviour.name, 200, None, "text/event-stream", false);
        if head.http10 {
            self.out = String::from_utf8_lossy(&self.out).replace("Transfer-Encoding: chunked\r\n", "").into_bytes();
        }
        for count in 0_u64.. {
            let event = format!("id: {count}\ndata: {} has counted to {count}\n\n", behaviour.name);
            let event = if head.http10 { event } else { format!("{:x}\r\n{event}\r\n", event.len()) };
            self.out.extend_from_slice(event.as_bytes());
            self.wire.stream.write_all(&self.out).await?;
            self.out.clear();
            tokio::select! {
                () = sleep(Duration::from_secs(1)) => {}
                () = self.wire.closed() => break,
            }
        }
        Ok(())
    }

    /// Goes wrong. The connection ends with it.
    async fn fail(&mut self, fault: Fault, behaviour: &Behaviour) -> io::Result<()> {
        let size = behaviour.size.unwrap_or(1024).max(2);
        match fault {
            Fault::ConnectReset | Fault::ResetBeforeHead => self.wire.stream.set_zero_linger()?,
            Fault::StaleConnection | Fault::ClosedWithoutResponse => {}
            Fault::TruncatedHead => self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl").await?,
            Fault::NotHttp => self.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await?,
            // Alert, TLS 1.2, two bytes: fatal, unexpected_message.
            Fault::SpeaksTls => self.send(b"\x15\x03\x03\x00\x02\x02\x0a").await?,
            // An empty SETTINGS frame, then GOAWAY: PROTOCOL_ERROR.
            Fault::SpeaksH2 => {
                self.send(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01").await?;
            }
            Fault::InvalidHead => {
                self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello").await?;
            }
            Fault::ResponseHeadTooLarge => {
                self.send(b"HTTP/1.1 200 OK\r\n").await?;
                let field = format!("Set-Cookie: {:a<8174}\r\n", "a=").into_bytes(); // 8 KiB
                for _ in 0..HUGE_FIELDS {
                    self.send(&field).await?;
                }
                self.send(b"Content-Length: 0\r\n\r\n").await?;
            }
            Fault::BadChunking => {
                self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nXYZ\r\n").await?;
            }
            Fault::ReadTimeout => self.wire.closed().await,
            Fault::RequestTimeout => {
                self.good_head(behaviour, DRIP).await?;
                for _ in 0..DRIP {
                    self.send(b".").await?;
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Fault::TruncatedBody | Fault::BodyTimeout => {
                self.good_head(behaviour, size).await?;
                self.fill(size / 2).await?;
                if fault == Fault::BodyTimeout {
                    self.wire.closed().await;
                }
            }
            Fault::UpgradeFailed => {
                self.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: unasked\r\n\r\n")
                    .await?;
                self.wire.closed().await;
            }
            // Handled where answers are given.
            Fault::WriteTimeout | Fault::HealthStatus | Fault::HealthBody => {}
        }
        Ok(())
    }

    async fn good_head(&mut self, behaviour: &Behaviour, length: u64) -> io::Result<()> {
        self.out.clear();
        answer::head(&mut self.out, &behaviour.name, 200, Some(length), "text/plain", true);
        self.wire.stream.write_all(&self.out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.stream.write_all(bytes).await
    }

    async fn fill(&mut self, mut size: u64) -> io::Result<()> {
        while size > 0 {
            let part = FILLER.len().min(usize::try_from(size).unwrap_or(usize::MAX));
            self.wire.stream.write_all(&FILLER[..part]).await?;
            size -= part as u64;
        }
        Ok(())
    }

    async fn refuse(&mut self, why: &io::Error) -> io::Result<()> {
        let body = format!("{why}\n");
        self.out.clear();
        answer::head(&mut self.out, "", 400, Some(body.len() as u64), "text/plain", false);
        self.out.extend_from_slice(body.as_bytes());
        self.wire.stream.write_all(&self.out).await?;
        self.wire.stream.shutdown().await
    }
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

fn has_body(head: &Head, status: u16) -> bool {
    &*head.method != b"HEAD" && !matches!(status, 204 | 304)
}

fn roll(behaviour: &Behaviour, stage: Stage) -> Option<Fault> {
    if behaviour.faults.is_empty() {
        return None;
    }
    choose(&behaviour.faults, stage, fastrand::u8(0..100))
}

const fn filler() -> [u8; 64 << 10] {
    let mut bytes = [0; 64 << 10];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = if at % 64 == 63 { b'\n' } else { b'a' + (at % 64 % 26) as u8 };
        at += 1;
    }
    bytes
}
