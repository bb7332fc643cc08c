//! The answers of causeway's own: refusals, errors, redirects, what a route says itself. Off the path of those that an
//! upstream answers: nothing is looked at here before there is such an answer to give.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::cause::{Cause, Failure};
use crate::config::address::without_port;
use crate::config::model::{Piece, Redirect, Respond};
use crate::listen::ConnInfo;
use crate::observe::Exchange;
use crate::observe::exchange::EndedBy;
use crate::route::Miss;

use super::record::Open;
use super::respond::{self, Form, Telling};
use super::{Asked, Body, Service, panic};

impl Service {
    /// How an answer of causeway's own is to look, and who is told addresses.
    pub(super) fn telling(&self, asked: &Asked<'_>) -> Telling<'static> {
        Telling { secure: asked.ours.secure(), ..Telling::new(Form::of(&asked.parts.headers), self.full_detail(asked)) }
    }

    pub(super) fn full_detail(&self, asked: &Asked<'_>) -> bool {
        let (errors, conn) = (&self.proxy.config.errors, asked.conn);
        let host = asked.passed.host.as_deref().or(asked.notes.host);
        let (peer, client) = (conn.peer.ip(), asked.ours.client);
        // What a browser leaves out on this connection, whatever a proxy in front says of its own.
        let ports = (conn.local.port(), if conn.tls.is_some() { 443 } else { 80 });
        respond::detail_is_full(errors, peer, client, &asked.parts.headers, host, ports)
    }

    /// causeway refuses before any upstream was asked.
    pub(super) fn refuse(&self, open: Box<Open>, asked: &Asked<'_>, failure: Failure) -> Response<Body> {
        self.annotate(open, asked, Arc::new(failure))
    }

    /// The annotated error of this failure.
    pub(super) fn annotate(&self, mut open: Box<Open>, asked: &Asked<'_>, failure: Arc<Failure>) -> Response<Body> {
        if failure.cause == Cause::ClientClosed {
            open.end(EndedBy::Client);
        }
        open.exchange.failure = Some(failure);
        let telling = self.telling(asked);
        self.gave_up(open, asked, telling)
    }

    /// The annotated error of an exchange that causeway answers itself: the record says all.
    pub(super) fn gave_up(&self, mut open: Box<Open>, asked: &Asked<'_>, telling: Telling<'_>) -> Response<Body> {
        let verdict = respond::verdict(&open.exchange);
        open.exchange.status = verdict.status.as_u16();
        open.exchange.failure = Some(Arc::clone(&verdict.failure));
        open.exchange.elapsed = open.exchange.started.elapsed();
        let response = self.proxy.annotator.render(&open.exchange, &verdict, telling);
        self.own(open, asked, response)
    }

    /// An answer of causeway's own, whole.
    fn own(&self, mut open: Box<Open>, asked: &Asked<'_>, response: Response<Bytes>) -> Response<Body> {
        let (head, bytes) = response.into_parts();
        open.exchange.status = if open.exchange.status == 0 { head.status.as_u16() } else { open.exchange.status };
        if open.exchange.failure.is_none() {
            open.end(EndedBy::Proxy);
        }
        let body = if asked.parts.method == Method::HEAD { Body::headless(open) } else { Body::once(bytes, open) };
        Response::from_parts(head, body)
    }

    pub(super) fn no_route(&self, mut open: Box<Open>, asked: &Asked<'_>, path: &str, miss: &Miss) -> Response<Body> {
        let host = asked.host();
        let failure = Failure::new(Cause::NoRoute).seen(format!("{} {host}{path}", asked.parts.method));
        let allow = match miss {
            Miss::NoRoute => String::new(),
            Miss::Method(allowed) => allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
        };
        let failure = if matches!(miss, Miss::NoRoute) { failure } else { failure.status(405) };
        open.exchange.failure = Some(Arc::new(failure));
        let nearest = self.proxy.routes.nearest(host);
        self.gave_up(open, asked, Telling { allow: &allow, nearest: &nearest, ..self.telling(asked) })
    }

    pub(super) fn redirect(&self, open: Box<Open>, asked: &Asked<'_>, redirect: &Redirect) -> Response<Body> {
        let name = without_port(asked.host());
        let target = asked.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let location: String = redirect
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Host => name,
                Piece::Path => target,
            })
            .collect();
        let fields = [(header::LOCATION, location)];
        self.plain(open, asked, StatusCode::PERMANENT_REDIRECT, fields, Bytes::new())
    }

    /// The same address by TLS (`redirect_https`); a port that was asked for is this listener's, and goes.
    pub(super) fn to_https(&self, open: Box<Open>, asked: &Asked<'_>) -> Response<Body> {
        if asked.host().is_empty() {
            let failure = Failure::new(Cause::ClientInvalid).seen("it names no host, and is to go to https://HOST");
            return self.refuse(open, asked, failure);
        }
        let path = if asked.parts.uri.path() == "*" { Piece::Text("/".to_owned()) } else { Piece::Path };
        self.redirect(open, asked, &Redirect(vec![Piece::Text("https://".to_owned()), Piece::Host, path]))
    }

    pub(super) fn respond(&self, open: Box<Open>, asked: &Asked<'_>, respond: &Respond) -> Response<Body> {
        let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let kind = respond.content_type.to_str().unwrap_or("text/plain").to_owned();
        let retry = respond.retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string()));
        let fields = [(header::CONTENT_TYPE, kind)].into_iter().chain(retry);
        self.plain(open, asked, status, fields, respond.body.clone())
    }

    /// Max-Forwards has come to its end here: we are the final recipient (RFC 9110 §7.6.2, §9.3.7, §9.3.8).
    pub(super) fn last_hop(&self, open: Box<Open>, asked: &Asked<'_>) -> Response<Body> {
        if asked.parts.method == Method::OPTIONS {
            return self.plain(open, asked, StatusCode::OK, [], Bytes::new());
        }
        let secret = |name: &HeaderName| {
            *name == header::AUTHORIZATION || *name == header::COOKIE || *name == header::PROXY_AUTHORIZATION
        };
        let mut echo = format!("TRACE {} HTTP/1.1\r\n", asked.parts.uri).into_bytes();
        for (name, value) in asked.parts.headers.iter().filter(|(name, _)| !secret(name)) {
            echo.extend_from_slice(name.as_str().as_bytes());
            echo.extend_from_slice(b": ");
            echo.extend_from_slice(value.as_bytes());
            echo.extend_from_slice(b"\r\n");
        }
        self.plain(open, asked, StatusCode::OK, [(header::CONTENT_TYPE, "message/http".to_owned())], Bytes::from(echo))
    }

    fn plain(
        &self,
        open: Box<Open>,
        asked: &Asked<'_>,
        status: StatusCode,
        fields: impl IntoIterator<Item = (HeaderName, String)>,
        body: Bytes,
    ) -> Response<Body> {
        let length = body.len();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        if status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response.headers_mut().insert(respond::X_REQUEST_ID, asked.request_id.value().clone());
        self.own(open, asked, response)
    }

    /// The answer to a request whose handling panicked. Its record is in the log already.
    pub(super) fn bug(&self, conn: &Arc<ConnInfo>, accept: Option<&HeaderValue>) -> Response<Body> {
        let left = panic::left();
        let id = left.as_ref().map_or_else(super::new_request_id, |left| left.request_id.clone());
        let mut exchange =
            Exchange::new(id, conn.peer, Arc::clone(&conn.listener.name), (Instant::now(), SystemTime::now()));
        exchange.method = left.map_or(Method::GET, |left| left.method);
        exchange.failure = Some(Arc::new(Failure::new(Cause::Bug)));
        let verdict = respond::verdict(&exchange);
        let said = accept.into_iter().map(|accept| (header::ACCEPT, accept.clone())).collect();
        let telling = Telling::new(Form::of(&said), false);
        self.proxy.annotator.render(&exchange, &verdict, telling).map(Body::unrecorded)
    }
}
