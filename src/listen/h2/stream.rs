//! One stream: a request to the [`Handler`], and its answer back, no faster than the client takes it.
//!
//! An answer that breaks off ends in RST_STREAM, never in a clean end; a client that takes its request back ends the
//! handler's work. A WebSocket's stream goes to whoever asks for its [`Switch`](crate::listen::Switch) once its 200 is
//! out.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, response};
use http_body::Body;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Shared, request};
use crate::cause::{Cause, Failure};
use crate::listen::tunnel::{OnSwitch, Tunnel};
use crate::listen::{Handler, RequestBody, date};
use crate::tunnel::Duplex;

/// The status of an answer that nobody waits for any more: it is not sent.
const GONE: u16 = 499;

/// Answers a request. The handler is called at once: what is moved from here on is its future, and no longer the
/// request.
pub(super) fn answer<H: Handler>(
    handler: &H,
    shared: Arc<Shared>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> impl Future<Output = ()> + Send + use<H> {
    let info = &shared.info;
    let held = info.drain.hold();
    let (mut parts, incoming) = request.into_parts();
    let mut tunnel = None;
    let mut incoming = Some(incoming);
    if request::upgrades(&mut parts) {
        let (give, on) = OnSwitch::new();
        parts.extensions.insert(on);
        tunnel = incoming.take().map(|incoming| (incoming, give));
    }
    request::familiar(&mut parts);
    let to_head = parts.method == Method::HEAD;
    // Told when the body is asked for: only who waits for it wants to hear of it.
    let wanted = parts.headers.contains_key(EXPECT).then(|| Arc::new(AtomicBool::new(false)));
    let silence = info.listener.body_timeout;
    let body = match incoming {
        Some(incoming) => RequestBody::of_stream(incoming, &parts.headers, silence, wanted.clone()),
        // It begins behind the answer.
        None => RequestBody::none(silence),
    };
    let answering = handler.call(Request::from_parts(parts, body), info);
    async move {
        let _held = held;
        let Some(answer) = wait(answering, &mut respond, wanted).await else {
            shared.taken_back.fetch_add(1, Relaxed);
            return;
        };
        if answer.status().as_u16() == GONE {
            return respond.send_reset(Reason::CANCEL);
        }
        if answer.status().is_informational() {
            return match tunnel.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
                Some((incoming, give)) => open(answer.into_parts().0, incoming, give, &mut respond),
                // A protocol that nobody asked for: there is no such answer on a stream.
                None => respond.send_reset(Reason::INTERNAL_ERROR),
            };
        }
        // The refusal of one is an answer as any: what the client sends on is not read.
        drop(tunnel);
        let (mut head, body) = answer.into_parts();
        let bodiless = to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        dress(&mut head.headers, &body, bodiless);
        let ends = bodiless || body.is_end_stream();
        let mut body = pin!(Some(body));
        let mut answer = Response::new(());
        (*answer.status_mut(), *answer.headers_mut()) = (head.status, head.headers);
        if let Ok(stream) = respond.send_response(answer, ends)
            && !ends
        {
            pass(&shared, body.as_mut(), stream).await;
        }
    }
}

/// Sends the answer that opens a tunnel, and gives the stream to whoever waits for it; if that is nobody, it is reset.
fn open(
    mut head: response::Parts,
    incoming: RecvStream,
    give: oneshot::Sender<Tunnel>,
    respond: &mut SendResponse<Bytes>,
) {
    request::opened(&mut head);
    strip(&mut head.headers);
    let mut answer = Response::new(());
    (*answer.status_mut(), *answer.headers_mut()) = (head.status, head.headers);
    if let Ok(stream) = respond.send_response(answer, false) {
        let _ = give.send(Tunnel::of_stream(Duplex::new(incoming, stream)));
    }
}

/// The handler's answer; `None` when the client has taken its request back.
async fn wait<B>(
    answering: impl Future<Output = Response<B>>,
    respond: &mut SendResponse<Bytes>,
    wanted: Option<Arc<AtomicBool>>,
) -> Option<Response<B>> {
    let mut answering = pin!(answering);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if wanted.as_ref().is_some_and(|wanted| wanted.swap(false, Relaxed)) {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            // A client that is gone says so below.
            let _ = respond.send_informational(interim);
        }
        respond.poll_reset(cx).map(|_| None)
    })
    .await
}

/// What broke an answer off.
enum Broke {
    /// Its body. The client hears this.
    Body(Reason),
    /// The client took nothing of it for too long.
    Stalled,
    /// The client wants no more of it.
    Gone,
}

/// Sends the body, to its end or to where it breaks off.
async fn pass<B: Body<Data = Bytes, Error: Error + 'static>>(
    shared: &Shared,
    mut body: Pin<&mut Option<B>>,
    mut stream: SendStream<Bytes>,
) {
    let broke = loop {
        let Some(mut source) = body.as_mut().as_pin_mut() else { return };
        let frame = poll_fn(|cx| match source.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|_| None),
        });
        let frame = match frame.await {
            None => break Broke::Gone,
            Some(Some(Err(error))) => break Broke::Body(reason(&error)),
            Some(Some(Ok(frame))) => frame,
            Some(None) => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let last = source.is_end_stream();
                if data.is_empty() && !last {
                    continue;
                }
                if let Err(broke) = give(shared, &mut stream, data, last).await {
                    break broke;
                }
                if last {
                    return;
                }
            }
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    strip(&mut trailers);
                    let _ = stream.send_trailers(trailers);
                    return;
                }
            }
        }
    };
    match broke {
        // It has been told of it. What came before is to come out, so that the client sees how far it got.
        Broke::Body(reason) => {
            // Nothing moves where all of it is out already: an empty frame makes a round of the driver, and costs the
            // client nothing. A stream that takes none any more is reset in any case.
            let _ = stream.send_data(Bytes::new(), false);
            let mut written = pin!(shared.written());
            poll_fn(|cx| match written.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => stream.poll_reset(cx).map(drop),
            })
            .await;
            stream.send_reset(reason);
        }
        Broke::Stalled => {
            // The record ends with the body, here and now; other streams of the connection are as they were.
            shared.info.stalled.store(true, Relaxed);
            body.set(None);
            shared.info.stalled.store(false, Relaxed);
            stream.send_reset(Reason::CANCEL);
        }
        Broke::Gone => {}
    }
}

/// A client whose own limit is over has no need of the rest: nothing is wrong.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.cause == Cause::ClientTimeout => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}

/// Hands over as much as the client's windows take, and the rest when they do: h2 itself would keep all of it.
async fn give(shared: &Shared, stream: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Broke> {
    loop {
        stream.reserve_capacity(data.len());
        let room = stream.capacity();
        if room >= data.len() {
            return stream.send_data(data, last).map_err(|_| Broke::Gone);
        }
        if room > 0 {
            stream.send_data(data.split_to(room), false).map_err(|_| Broke::Gone)?;
            continue;
        }
        let mut silence = pin!(sleep_until(Instant::now() + shared.info.listener.body_timeout));
        poll_fn(|cx| match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Err(Broke::Gone)),
            Poll::Pending => silence.as_mut().poll(cx).map(|()| Err(Broke::Stalled)),
        })
        .await?;
    }
}

/// Makes the head of an answer one of HTTP/2 (RFC 9113 §8.2.2), with a date and a length where they are due.
fn dress<B: Body>(headers: &mut HeaderMap, body: &B, bodiless: bool) {
    strip(headers);
    // As in `strip`: a look is cheaper than a lookup.
    if !headers.keys().any(|name| name == DATE) {
        headers.insert(DATE, date::now());
    }
    if !bodiless
        && !headers.keys().any(|name| name == CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Fields that are of one HTTP/1 connection alone.
fn strip(headers: &mut HeaderMap) {
    static OF_CONNECTION: [HeaderName; 7] = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        TE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    // Most answers have none: a look at the names is cheaper than a lookup for each.
    while let Some(name) = headers.keys().find(|name| OF_CONNECTION.contains(name)).cloned() {
        headers.remove(name);
    }
}
