//! The table: what an upstream or a client does, and the cause that it gets.

use std::net::SocketAddr;

use super::*;
use crate::support::full::full;
use crate::support::origin::{Behaviour, Origin};

pub(super) struct Row {
    pub(super) cause: Cause,
    pub(super) upstream: Upstream,
    /// More keys of `[pool.app]`, and tables after it.
    more: &'static str,
    pub(super) request: Request,
    pub(super) attempt: Option<(Phase, bool)>,
}

#[derive(Debug)]
pub(super) enum Upstream {
    Does(Behaviour),
    At(SocketAddr),
    /// A port whose queue of connections is full.
    Full,
}

#[derive(Clone, Copy)]
pub(super) enum Request {
    Get,
    /// A POST after a GET on the same connection: a GET would be sent again on a fresh one.
    SecondPost,
    /// With so large a body.
    Post(usize),
    /// With these fields.
    Fields(&'static str),
    /// With our own Via.
    Back,
    /// Half a head.
    Half,
    /// Half a body.
    HalfBody,
}

fn row(cause: Cause, does: Behaviour, attempt: (Phase, bool)) -> Row {
    Row { cause, upstream: Upstream::Does(does), more: "", request: Request::Get, attempt: Some(attempt) }
}

fn own(cause: Cause, request: Request, more: &'static str) -> Row {
    Row { cause, upstream: Upstream::Does(Behaviour::Echo), more, request, attempt: None }
}

pub(super) fn table() -> Vec<Row> {
    use Behaviour as B;
    let head = (Phase::Head, true);
    let body = (Phase::Body, true);
    let connect = Some((Phase::Connect, false));
    let at = |cause, upstream, more| Row { cause, upstream, more, request: Request::Get, attempt: connect };
    vec![
        // TCP connect refuses the broadcast address before a packet is sent.
        at(Cause::Unreachable, Upstream::At(SocketAddr::from(([255, 255, 255, 255], 8099))), ""),
        at(Cause::ConnectionRefused, Upstream::At(Origin::nobody()), ""),
        at(Cause::ConnectTimeout, Upstream::Full, "timeouts.connect = \"50ms\"\n"),
        Row { request: Request::SecondPost, ..row(Cause::StaleConnection, B::StaleOnNext, head) },
        row(Cause::ClosedWithoutResponse, B::CloseBeforeHead, head),
        row(Cause::ResetBeforeHead, B::ResetBeforeHead, head),
        row(Cause::TruncatedHead, B::HalfHead, head),
        row(Cause::TruncatedHead, B::HalfHeadReset, head),
        row(Cause::NotHttp, B::Garbage, head),
        row(Cause::SpeaksTls, B::TlsAlert, head),
        row(Cause::SpeaksH2, B::H2Settings, head),
        row(Cause::InvalidHead, B::BadHeader, head),
        row(Cause::ResponseHeadTooLarge, B::HeadOf(70 << 10), head),
        row(Cause::ResponseHeadTooLarge, B::Fields(257), head),
        Row { more: "timeouts.read = \"50ms\"\n", ..row(Cause::ReadTimeout, B::Silent, head) },
        Row {
            more: "timeouts.write = \"200ms\"\n",
            request: Request::Post(20 << 20),
            ..row(Cause::WriteTimeout, B::NeverReads, (Phase::Request, true))
        },
        Row { more: "timeouts.request = \"50ms\"\n", ..row(Cause::RequestTimeout, B::Silent, head) },
        row(Cause::TruncatedBody, B::CutBody { sent: 3, of: 9, reset: false }, body),
        row(Cause::TruncatedBody, B::CutBody { sent: 3, of: 9, reset: true }, body),
        Row { more: "timeouts.body = \"50ms\"\n", ..row(Cause::BodyTimeout, B::StallInBody, body) },
        row(Cause::UpgradeFailed, B::Tunnel, head),
        own(Cause::LoopDetected, Request::Back, ""),
        own(Cause::ClientInvalid, Request::Fields("Host: b\r\n"), ""),
        own(Cause::ClientTimeout, Request::Half, "[listener.main.timeouts]\nhead = \"50ms\"\n"),
        Row {
            attempt: Some((Phase::Request, true)),
            ..own(Cause::ClientTimeout, Request::HalfBody, "[listener.main.timeouts]\nbody = \"50ms\"\n")
        },
        own(Cause::ClientTooLarge, Request::Post(2000), "[route.main]\nmax_body = \"1KiB\"\n"),
        own(Cause::NoRoute, Request::Get, "[route.main]\npath = \"/elsewhere\"\n"),
    ]
}

#[tokio::test]
async fn every_cause_is_told_as_its_row_says() {
    for row in table() {
        let (mut origin, mut full_port) = (None, None);
        let address = match &row.upstream {
            Upstream::Does(behaviour) => origin.insert(Origin::start(behaviour.clone()).await).address(),
            Upstream::At(address) => *address,
            Upstream::Full => {
                let (address, port) = full().await;
                full_port = Some(port);
                address
            }
        };
        let port = format!(":{}", address.port());
        let secrets = [address.to_string(), port, address.ip().to_string(), PATH.to_owned()];
        let wanted = Wanted { cause: row.cause, status: row.cause.row().status, attempt: row.attempt };
        for full in [true, false] {
            let detail = if full { "full" } else { "public" };
            let proxy = Proxy::unchecked(&[address], &format!("{}[errors]\ndetail = \"{detail}\"\n", row.more));
            checked(&wanted, full, &secrets, async |accept| sent(&proxy, origin.as_ref(), row.request, accept).await)
                .await;
        }
        drop(full_port);
    }
}

async fn sent(proxy: &Proxy, origin: Option<&Origin>, request: Request, accept: &str) -> Response {
    let get = |fields: &str| format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n{fields}\r\n");
    let post = |length: usize| {
        format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Length: {length}\r\n\r\n")
    };
    match request {
        Request::Get => ask(proxy, &get(""), b"").await,
        Request::Fields(fields) => ask(proxy, &get(fields), b"").await,
        Request::Post(length) => ask(proxy, &post(length), &vec![b'x'; length]).await,
        Request::HalfBody => ask(proxy, &post(10), b"half").await,
        Request::Half => {
            let head = get("");
            ask(proxy, &head[..head.len() - 2], b"").await
        }
        Request::SecondPost => {
            let mut client = Raw::connect(proxy.address).await;
            assert_eq!(client.get("/").await.text(), "ok");
            client.send(post(2) + "hi").await;
            client.response().await
        }
        Request::Back => {
            let origin = origin.unwrap();
            let before = origin.record().requests.len();
            assert_eq!(ask(proxy, &get(""), b"").await.status, 200);
            let head = origin.requests(before + 1).await[before].head.clone();
            let via = head.lines().find(|line| line.to_ascii_lowercase().starts_with("via:")).unwrap();
            ask(proxy, &get(&format!("{via}, 1.1 another\r\n")), b"").await
        }
    }
}
