//! HTTP/1.1 to an upstream, over hyper's client connection. The one file that knows hyper's client: an exchange on one
//! connection, its clocks, and what becomes of the connection afterwards.

use std::error::Error;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::body::{Body, Lease};
use super::classify::{self, Codec, On};
use super::gate::Gate;
use super::io::{Watched, Wire};
use super::reuse::{Keep, Kept, Limits};
use super::{Order, Progress};
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::config::model::Timeouts;

/// Fields of a response head: hyper's own 100 are too few for some apps. hyper clears a table of so many for every answer:
/// 1,000 of them cost a twentieth of the CPU of a short request.
const MAX_FIELDS: usize = 256;
/// hyper takes no smaller buffer.
const LEAST_BUFFER: usize = 8 << 10;
/// An idle time that an upstream announces is believed up to here.
const LONGEST_IDLE: Duration = Duration::from_secs(600);
/// How long a connection may take to become idle once its answer was read.
const SETTLE: Duration = Duration::from_secs(1);

/// Where connections of one client rest.
pub(super) type Home<B> = Kept<Box<Connection<B>>>;

/// One connection to an upstream. Dropping it closes it at once.
pub(super) struct Connection<B> {
    sender: SendRequest<Gate<B>>,
    driver: AbortHandle,
    wire: Arc<Wire>,
    home: Weak<Home<B>>,
    key: u64,
    born: Instant,
    reused: bool,
    head_limit: usize,
    /// As of the last exchange.
    limits: Limits,
}

/// An exchange without a response head.
pub(super) enum Unanswered<B> {
    /// Nothing of the request was sent: here it is again, and why.
    Unsent(Box<Request<B>>, Failure),
    /// The request is gone.
    Failed(Failure),
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl<B: Send + 'static> Keep for Box<Connection<B>> {
    fn is_open(&self) -> bool {
        self.sender.is_ready()
    }
}

impl<B> Connection<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Speaks HTTP/1.1 on a fresh socket.
    pub(super) async fn open(stream: TcpStream, order: Order<'_>, home: &Arc<Home<B>>) -> Result<Box<Self>, Failure> {
        let wire = Arc::new(Wire::default());
        let head_limit = order.buffers.response_head;
        let (sender, connection) = Builder::new()
            .max_headers(MAX_FIELDS)
            .max_header_size(head_limit)
            // One number for both: how far it reads ahead, and the head that must fit into it.
            .max_buf_size(head_limit.max(order.buffers.response).max(LEAST_BUFFER))
            .handshake(TokioIo::new(Watched::new(stream, wire.clone())))
            .await
            .map_err(|error| Failure::new(Cause::Bug).from(error))?;
        let connection = connection.with_upgrades();
        // Its errors reach whoever waits for the answer or the body; nobody else would want them.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        })
        .abort_handle();
        let born = Instant::now();
        let limits = Limits { idle: order.connections.idle, until: born + order.connections.max_age, count: 0 };
        let home = Arc::downgrade(home);
        Ok(Box::new(Self {
            sender,
            driver,
            wire,
            home,
            key: order.endpoint.key,
            born,
            reused: false,
            head_limit,
            limits,
        }))
    }

    /// Sends the request and waits for the final response head.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        order: Order<'_>,
        request: Request<B>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Body>, Unanswered<B>> {
        self.wire.begin(progress.clone(), request.body().is_end_stream());
        let to_head = *request.method() == Method::HEAD;
        progress.set_phase(Phase::Request);
        let mut request = request.map(|body| Gate::new(body, self.wire.clone(), order.expects_continue));
        if order.expects_continue {
            let wire = self.wire.clone();
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    wire.facts().continued = true;
                }
            });
        }
        let result = {
            let mut answer = pin!(self.sender.try_send_request(request));
            let mut clock = pin!(sleep_until(Instant::now() + order.timeouts.write.min(order.timeouts.read)));
            loop {
                tokio::select! {
                    biased;
                    result = &mut answer => break result,
                    () = &mut clock => match due(&self.wire, order.timeouts) {
                        Ok(next) => clock.as_mut().reset(next),
                        Err(failure) => return Err(Unanswered::Failed(failure)),
                    },
                }
            }
        };
        match result {
            Ok(response) => {
                self.wire.facts().headed = true;
                progress.set_phase(Phase::Body);
                self.answered(order, response, to_head).map_err(Unanswered::Failed)
            }
            Err(mut unsent) => {
                let message = unsent.take_message();
                let error = unsent.into_error();
                let codec = Codec {
                    parse: error.is_parse(),
                    too_large: error.is_parse_too_large(),
                    short_body: error.is_body_write_aborted(),
                    own: error.is_user(),
                };
                let on = On { reused: self.reused, head_limit: self.head_limit, fields_limit: MAX_FIELDS };
                let failure = classify::no_head(&mut self.wire.facts(), codec, on, error);
                match message.and_then(give_back) {
                    Some(request) => Err(Unanswered::Unsent(Box::new(request), failure)),
                    None => Err(Unanswered::Failed(failure)),
                }
            }
        }
    }

    fn answered(
        mut self: Box<Self>,
        order: Order<'_>,
        response: Response<Incoming>,
        to_head: bool,
    ) -> Result<Response<Body>, Failure> {
        let (mut head, incoming) = response.into_parts();
        let idle = keep_alive(&head.headers).unwrap_or(order.connections.idle);
        self.limits = Limits { idle, until: self.born + order.connections.max_age, count: order.connections.max_idle };
        let coded = head.headers.contains_key(TRANSFER_ENCODING);
        if coded && !only_chunked(&head.headers) {
            // hyper would take the coding off and say nothing of it: the client would get coded bytes as plain ones.
            let failure = Failure::new(Cause::InvalidHead).in_phase(Phase::Head).sent(true);
            return Err(failure.seen("a Transfer-Encoding other than a single chunked"));
        }
        let lengths = || head.headers.get_all(CONTENT_LENGTH).iter();
        let announced = lengths().any(|length| length != "0");
        let repeated = lengths().count() > 1 || lengths().any(|length| length.as_bytes().contains(&b','));
        if coded && head.headers.remove(CONTENT_LENGTH).is_some() {
            // Two framings: the chunks hold, and the next answer here could be a part of this one (RFC 9112 §6.3).
            self.limits.count = 0;
        } else if to_head && (coded || announced) {
            // Some apps send the body all the same, a moment later: the next answer here could be that.
            self.limits.count = 0;
        } else if repeated {
            // The same length more than once is one length (RFC 9110 §8.6).
            if let Some(length) = http_body::Body::size_hint(&incoming).exact() {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let body = Body::new(incoming, self, order.timeouts.body, switches);
        Ok(Response::from_parts(head, body))
    }
}

impl<B> Lease for Connection<B>
where
    B: Send + 'static,
{
    fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The answer was read to its end: back to the others, if the request was too.
    fn settle(mut self: Box<Self>) {
        {
            let facts = self.wire.facts();
            if facts.finished.is_none() || facts.write_error.is_some() {
                return;
            }
        }
        if self.sender.is_closed() || self.limits.count == 0 {
            return;
        }
        self.reused = true;
        if self.sender.is_ready() {
            keep(self);
            return;
        }
        // Its task has yet to notice (on another thread, or the last chunk was not read yet).
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLE, self.sender.ready()).await {
                keep(self);
            }
        });
    }
}

fn keep<B: Send + 'static>(connection: Box<Connection<B>>) {
    if let Some(home) = connection.home.upgrade() {
        let (key, limits) = (connection.key, connection.limits);
        home.keep(key, connection, limits);
    }
}

/// The one transfer coding that is understood (RFC 9112 §6.1).
fn only_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    matches!((lines.next(), lines.next()), (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The request in the form in which it goes out: HTTP/1.1, and with a framing that lets its body pass.
pub(super) fn prepared<B: http_body::Body>(mut request: Request<B>) -> Request<B> {
    *request.version_mut() = Version::HTTP_11;
    let unframed =
        !request.headers().contains_key(CONTENT_LENGTH) && !request.headers().contains_key(TRANSFER_ENCODING);
    let seldom = matches!(*request.method(), Method::GET | Method::HEAD | Method::CONNECT);
    if seldom && unframed && !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        // hyper would silently leave out the body of such a request.
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request
}

fn give_back<B>(request: Request<Gate<B>>) -> Option<Request<B>> {
    let (head, gate) = request.into_parts();
    gate.into_body().map(|body| Request::from_parts(head, body))
}

/// When the clock has to be looked at again, or the failure that it shows now.
fn due(wire: &Wire, timeouts: &Timeouts) -> Result<Instant, Failure> {
    let facts = wire.facts();
    let now = Instant::now();
    let (cause, phase, since, limit) = match (facts.finished, facts.blocked) {
        (Some(finished), _) => (Cause::ReadTimeout, Phase::Head, finished, timeouts.read),
        (None, Some(blocked)) => (Cause::WriteTimeout, Phase::Request, blocked, timeouts.write),
        // The client is slow: none of the upstream's clocks runs.
        (None, None) => return Ok(now + timeouts.write.min(timeouts.read)),
    };
    match since + limit {
        next if next > now => Ok(next),
        _ => Err(Failure::new(cause).in_phase(phase).sent(facts.written > 0).limit(spoken(limit))),
    }
}

/// `Keep-Alive: timeout=N`, less the second in which a request could cross the close on the wire: the idle time in place
/// of `connections.idle`, longer or shorter.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let told = headers.get_all("keep-alive").iter().filter_map(|value| value.to_str().ok());
    let seconds = told.flat_map(|value| value.split(',')).find_map(|word| {
        let (name, seconds) = word.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().trim_matches('"').parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(u64::from(seconds).saturating_sub(1)).min(LONGEST_IDLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_is_read_less_a_second() {
        let told = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            keep_alive(&HeaderMap::from_iter([(http::HeaderName::from_static("keep-alive"), value)]))
        };
        assert_eq!(told("timeout=5"), Some(Duration::from_secs(4)));
        assert_eq!(told("max=100, Timeout = 72"), Some(Duration::from_secs(71)));
        assert_eq!(told("timeout=4294967295"), Some(LONGEST_IDLE));
        assert_eq!(told("timeout=0"), Some(Duration::ZERO));
        assert_eq!(told("max=100"), None);
        assert_eq!(told("timeout=soon"), None);
        assert_eq!(keep_alive(&HeaderMap::new()), None);
    }

    #[test]
    fn a_get_with_a_body_of_unknown_length_keeps_it() {
        let request = prepared(Request::new(Endless));
        assert_eq!(request.headers()[TRANSFER_ENCODING], "chunked");
        assert!(prepared(Request::new(http_body_util::Empty::<Bytes>::new())).headers().is_empty());
    }

    /// A body of unknown length.
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
