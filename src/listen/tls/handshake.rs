//! One handshake, under its clock; and what is said to those who speak no TLS.
//!
//! Who says nothing at all is let go without a word, here and in the log.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{AlertDescription, Error, ServerConnection};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::drain::Step;
use super::super::socket::Socket;
use super::super::stream::Stream;
use super::super::wire::{Held, Wire};
use super::super::{Asleep, ConnInfo, Handler, conn, proxy_protocol, refusal};
use super::{Live, Secure, Session};
use crate::cause::{Cause, Failure, spoken};
use crate::observe::events;

/// Serves a connection that was just accepted, from its handshake to its end.
pub(in crate::listen) async fn serve<H: Handler>(
    secure: Arc<Secure>,
    stream: Socket,
    mut info: ConnInfo,
    handler: H,
    held: Held,
    asleep: Asleep,
) {
    let opened = {
        // On the heap, so that it can go: a task keeps its size for life.
        let opening = Box::pin(open(&secure, stream, info.listener.head_limit));
        tokio::select! {
            () = info.drain.reached(Step::Cut) => return,
            opened = opening => opened,
        }
    };
    match opened {
        Opened::Secure(stream, session) => {
            let spoken = session.spoken(&info.listener);
            info.tls = Some(session);
            conn::serve(Wire::new(Stream::Tls(stream), held), spoken, Arc::new(info), handler, asleep).await;
        }
        Opened::Silent => {}
        Opened::Late => {
            let why = format!("it was not complete within {} (limit: timeouts.tls)", spoken(secure.timeout));
            events::handshake_failed(&secure.listener, info.peer.ip(), ("late", &why), Instant::now().into_std());
        }
        Opened::Plain(stream, raw) => {
            let seen = match proxy_protocol::is_header(&raw) {
                true => refusal::introduced_by_stranger(&info.listener),
                false => "plain HTTP came to a TLS port, where addresses begin with https://".to_owned(),
            };
            let failure = Failure::new(Cause::ClientInvalid).status(400).seen(seen);
            let info = Arc::new(info);
            let last = handler.refuse(failure, &raw, &info);
            Wire::new(Stream::Plain(stream), held).finish(&last, &info.drain).await;
        }
        Opened::Failed(stream, error) => {
            let (kind, why) = reason(&error);
            events::handshake_failed(&secure.listener, info.peer.ip(), (kind, &why), Instant::now().into_std());
            // A close with bytes unread would reset away the alert that says why.
            Wire::new(Stream::Plain(stream), held).finish(&[], &info.drain).await;
        }
    }
}

/// What became of a connection.
enum Opened {
    Secure(Box<TlsStream<Socket>>, Session),
    /// Nothing came.
    Silent,
    /// A handshake began, and was not complete in time.
    Late,
    /// A request in plain HTTP, as far as it came.
    Plain(Socket, BytesMut),
    Failed(Socket, io::Error),
}

async fn open(secure: &Secure, mut stream: Socket, most: usize) -> Opened {
    let deadline = Instant::now() + secure.timeout;
    let mut first = [0];
    match timeout_at(deadline, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => {}
        _ => return Opened::Silent,
    }
    // A method, or the empty lines that some send before it; a handshake begins with 22 (RFC 8446 §5.1).
    if first[0].is_ascii_alphabetic() || matches!(first[0], b'\r' | b'\n') {
        let mut raw = BytesMut::with_capacity(1024);
        // It gets its answer however much of it came.
        let _ = timeout_at(deadline, read_head(&mut stream, &mut raw, most)).await;
        return Opened::Plain(stream, raw);
    }
    let live = secure.live.load_full();
    let accept = TlsAcceptor::from(Arc::clone(&live.config)).accept(stream).into_fallible();
    match timeout_at(deadline, accept).await {
        Ok(Ok(stream)) => {
            let session = session(&live, stream.get_ref().1);
            Opened::Secure(Box::new(stream), session)
        }
        Ok(Err((error, stream))) => Opened::Failed(stream, error),
        Err(_) => Opened::Late,
    }
}

async fn read_head(stream: &mut Socket, raw: &mut BytesMut, most: usize) -> io::Result<()> {
    // Only what is new, and the three bytes before it: whoever sends byte by byte costs no more than others.
    let ended = |raw: &[u8]| raw.windows(4).any(|end| end == b"\r\n\r\n") || raw.windows(2).any(|end| end == b"\n\n");
    let mut seen: usize = 0;
    while raw.len() < most && stream.read_buf(raw).await? > 0 && !ended(&raw[seen.saturating_sub(3)..]) {
        seen = raw.len();
    }
    Ok(())
}

fn session(live: &Live, agreed: &ServerConnection) -> Session {
    let sni = agreed.server_name();
    Session {
        sni: sni.map(Into::into),
        h2: agreed.alpn_protocol() == Some(b"h2"),
        bound: live.client_ca.as_ref().map(|_| (Arc::clone(&live.names), live.names.find(sni))),
    }
}

/// What went wrong, as one of a few kinds and as a part of a sentence.
fn reason(error: &io::Error) -> (&'static str, String) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ("left", "the client left in the middle of it".into())
            }
            _ => ("io", error.to_string()),
        };
    };
    match tls {
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired => {
                ("untrusted", format!("the client does not trust the certificate (its alert: {alert:?})"))
            }
            alert => ("alert", format!("the client ended it (its alert: {alert:?})")),
        },
        Error::NoCertificatesPresented => {
            ("no_certificate", "the client showed no certificate, and tls.client_ca asks for one".into())
        }
        Error::InvalidCertificate(why) => ("certificate", format!("the client's certificate is no good: {why}")),
        Error::PeerIncompatible(why) => {
            ("incompatible", format!("the client and causeway have too little in common: {why:?}"))
        }
        Error::NoApplicationProtocol => {
            ("alpn", "the client speaks none of the listener's protocols (its ALPN)".into())
        }
        Error::InvalidMessage(_) => ("not_tls", "what came is not TLS".into()),
        other => ("other", other.to_string()),
    }
}
