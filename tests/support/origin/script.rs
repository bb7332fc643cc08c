//! The scripts of the origin: what each behaviour does on a connection.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::{Wire, field};
use super::{Behaviour, Received, Shared};

/// One connection, to its end.
pub(super) async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let now = || shared.behaviour.lock().unwrap().clone();
    let mut wire = Wire { stream, buffer: Vec::new(), shared };
    match now() {
        Behaviour::ResetOnAccept => return wire.reset(),
        Behaviour::NeverReads => return std::future::pending().await,
        Behaviour::Greets(bytes) => {
            wire.send(&bytes).await?;
            return wire.drain().await;
        }
        _ => {}
    }
    let mut answered = 0;
    loop {
        let head = match now() {
            Behaviour::IdleClock(time) if answered > 0 => match tokio::time::timeout(time, wire.read_head()).await {
                Ok(head) => head?,
                Err(_elapsed) => return wire.close().await,
            },
            _ => wire.read_head().await?,
        };
        let Some(head) = head else { return Ok(()) };
        shared.record.send_modify(|record| record.heads += 1);
        let behaviour = now();
        match &behaviour {
            Behaviour::EarlyRefusal => {
                wire.read_any().await?;
                wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
                    .await?;
                return Ok(()); // closing with unread bytes resets
            }
            Behaviour::ResetInRequest => {
                wire.read_any().await?;
                return wire.reset();
            }
            Behaviour::Continue if field(&head, "expect").is_some() => {
                wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?
            }
            Behaviour::RefuseContinue => {
                wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await?;
                return wire.drain().await;
            }
            _ => {}
        }
        let body = wire.read_body(&head).await?;
        let echo = body.clone();
        // A closer look at a failure is nobody's request; tests/diagnose has its own servers.
        if !(head.contains("(diagnosis)") || head.starts_with("PRI * HTTP/2.0")) {
            shared.record.send_modify(|record| record.requests.push(Received { head, body }));
        }
        if answered > 0 && matches!(behaviour, Behaviour::StaleOnNext) {
            return wire.close().await;
        }
        if answer(&mut wire, &behaviour, &echo).await?.is_none() {
            return Ok(());
        }
        answered += 1;
    }
}

/// One answer; `None`: the connection is over.
async fn answer(wire: &mut Wire<'_>, behaviour: &Behaviour, echo: &[u8]) -> io::Result<Option<()>> {
    match behaviour {
        Behaviour::Ok(body) => wire.send(&ok(body)).await?,
        Behaviour::Continue | Behaviour::Echo => wire.send(&ok(echo)).await?,
        Behaviour::Status(204 | 304) => {
            let Behaviour::Status(code) = behaviour else { unreachable!() };
            wire.send(format!("HTTP/1.1 {code} Empty\r\n\r\n").as_bytes()).await?;
        }
        Behaviour::Status(code) => {
            let body = format!("status {code}\n");
            let head = format!("HTTP/1.1 {code} Status\r\nContent-Length: {}\r\n\r\n", body.len());
            wire.send((head + &body).as_bytes()).await?;
        }
        Behaviour::Raw(bytes) => wire.send(bytes).await?,
        Behaviour::RawThenClose(bytes) => {
            wire.send(bytes).await?;
            return ended(wire.close().await);
        }
        Behaviour::Slow(time) => {
            tokio::time::sleep(*time).await;
            wire.send(&ok(b"ok")).await?;
        }
        Behaviour::Silent => return ended(wire.drain().await),
        Behaviour::ResetBeforeHead => return ended(wire.reset()),
        Behaviour::CloseBeforeHead => return ended(wire.close().await),
        Behaviour::Garbage => {
            wire.send(b"SSH-2.0-OpenSSH\r\n").await?;
            return ended(wire.drain().await);
        }
        Behaviour::TlsAlert => {
            wire.send(b"\x15\x03\x01\x00\x02\x02\x46").await?;
            return ended(wire.close().await);
        }
        Behaviour::H2Settings => {
            wire.send(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64").await?;
            wire.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01").await?;
            return ended(wire.close().await);
        }
        Behaviour::HeadOf(size) => {
            let frame = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Fill: \r\n\r\n";
            let fill = "x".repeat(size - frame.len());
            let head = frame.replace("X-Fill: ", &format!("X-Fill: {fill}"));
            wire.send((head + "ok").as_bytes()).await?;
        }
        Behaviour::Fields(count) => {
            let fields: String = (1..*count).map(|n| format!("X-{n}: 1\r\n")).collect();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok").as_bytes()).await?;
        }
        Behaviour::HalfHead => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Le").await?;
            return ended(wire.close().await);
        }
        Behaviour::HalfHeadReset => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Le").await?;
            tokio::time::sleep(Duration::from_millis(100)).await; // else the reset takes the bytes with it
            return ended(wire.reset());
        }
        Behaviour::BadHeader => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nBad Name: 1\r\n\r\nok").await?;
        }
        Behaviour::CutBody { sent, of, reset } => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {of}\r\n\r\n");
            wire.send((head + &"x".repeat(*sent)).as_bytes()).await?;
            if *reset {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return ended(wire.reset());
            }
            return ended(wire.close().await);
        }
        Behaviour::CutChunks => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await?;
            return ended(wire.close().await);
        }
        Behaviour::BadChunking => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n").await?;
            return ended(wire.drain().await);
        }
        Behaviour::StallInBody => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await?;
            return ended(wire.drain().await);
        }
        Behaviour::Drip { bytes, pause } => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).await?;
            for _ in 0..*bytes {
                tokio::time::sleep(*pause).await;
                wire.send(b"x").await?;
            }
        }
        Behaviour::IdleClock(_) => wire.send(&ok(b"ok")).await?,
        Behaviour::StaleAfter(time) => {
            wire.send(&ok(b"ok")).await?;
            tokio::time::sleep(*time).await;
            return ended(wire.close().await);
        }
        Behaviour::EarlyHints => {
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await?;
            wire.send(&ok(b"ok")).await?;
        }
        Behaviour::Trailers => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n").await?;
            wire.send(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n").await?;
        }
        Behaviour::Tunnel => {
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
                .await?;
            let early = std::mem::take(&mut wire.buffer);
            wire.send(&early).await?;
            let (mut read, mut write) = wire.stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
            return Ok(None);
        }
        Behaviour::CloseDelimited => {
            wire.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await?;
            return ended(wire.close().await);
        }
        Behaviour::KeepAlive(seconds) => {
            let head = format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout={seconds}\r\nContent-Length: 2\r\n\r\nok");
            wire.send(head.as_bytes()).await?;
        }
        Behaviour::Unsolicited => {
            wire.send(&[ok(b"ok"), ok(b"of another request")].concat()).await?;
        }
        Behaviour::Flood(size) => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes()).await?;
            let chunk = [b'x'; 16 << 10];
            let mut left = *size;
            while left > 0 {
                let took = wire.stream.write(&chunk[..left.min(chunk.len())]).await?;
                left -= took;
                wire.shared.record.send_modify(|record| record.flooded += took);
            }
        }
        Behaviour::StaleOnNext => wire.send(&ok(b"ok")).await?,
        // These end in `serve`.
        Behaviour::NeverReads
        | Behaviour::ResetOnAccept
        | Behaviour::Greets(_)
        | Behaviour::EarlyRefusal
        | Behaviour::ResetInRequest
        | Behaviour::RefuseContinue => return ended(wire.close().await),
    }
    Ok(Some(()))
}

fn ended(result: io::Result<()>) -> io::Result<Option<()>> {
    result.map(|()| None)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}
