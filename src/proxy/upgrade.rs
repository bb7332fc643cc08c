//! Tunnels: after a 101 that was asked for, bytes pass both ways ([`carry`]) until one side ends, the clock of silence
//! or the drain does; and the record says which it was.

use std::time::Duration;

use http::{HeaderValue, Response, header};

use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client;
use crate::listen::{self, Switch};
use crate::observe::exchange::EndedBy;

use super::attempt::Setting;
use super::body::Body;
use super::carry::{Bytes, End, Side, carry};
use super::forward::finish_head;
use super::record::Open;

/// Passes the 101 on, and starts the tunnel behind it.
pub(super) fn switch(
    setting: &Setting<'_>,
    mut open: Box<Open>,
    mut response: Response<client::Body>,
) -> Response<Body> {
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let on_upstream = client::upgraded(&mut response);
    let (mut head, _) = response.into_parts();
    open.exchange.status = head.status.as_u16();
    finish_head(setting.service, &open, setting.asked, &mut head.headers);
    // No body follows a 101, whatever its fields say (RFC 9110 §8.6).
    head.headers.remove(header::CONTENT_LENGTH);
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head.extensions.clear();
    // From here on the tunnel counts the client's bytes.
    open.body = None;
    let silence = setting.forward.timeouts.tunnel;
    let on_client = Switch::of(&setting.asked.parts.extensions);
    setting.asked.conn.drain.spawn(async move {
        let (Some(on_client), Some(on_upstream)) = (on_client, on_upstream) else {
            return open.broke(Failure::new(Cause::Bug));
        };
        let upstream = match on_upstream.await {
            Ok(upstream) => upstream,
            Err(failure) => return open.broke(failure),
        };
        // The client is gone before its side of the tunnel stood: the record says so by itself.
        let Some(client) = on_client.stands().await else { return };
        tunnel(client, upstream, silence, open).await;
    });
    Response::from_parts(head, Body::none())
}

async fn tunnel(
    mut client: listen::Tunnel,
    mut upstream: client::Tunnel,
    silence: Option<Duration>,
    mut open: Box<Open>,
) {
    let exchange = &mut open.exchange;
    let bytes = Bytes { read: &mut exchange.bytes_in, written: &mut exchange.bytes_out };
    let (end, first) = carry(&mut client, &mut upstream, bytes, silence).await;
    match (end, first) {
        (End::Both, Some(Side::Upstream)) => open.end(EndedBy::Upstream),
        (End::Both, _) => open.end(EndedBy::Client),
        // Who goes without an end of its own after the other has ended has nothing more to hear, or to say; and who is
        // left hears that it broke, and does not take it for an end.
        (End::Broke(Side::Client, _), Some(Side::Upstream)) => {
            upstream.reset();
            open.end(EndedBy::Upstream);
        }
        (End::Broke(Side::Upstream, _), Some(Side::Client)) => {
            client.reset();
            open.end(EndedBy::Client);
        }
        // The record says by itself whether the client has left or was cut.
        (End::Broke(Side::Client, _), _) => upstream.reset(),
        (End::Broke(Side::Upstream, error), _) => {
            client.reset();
            open.tunnel_broke(error);
        }
        (End::Silent(limit), _) => {
            let silent = Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true);
            open.broke(silent.limit(spoken(limit)).seen("a tunnel"));
        }
    }
}
