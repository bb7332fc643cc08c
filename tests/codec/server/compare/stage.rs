//! The handler of both servers: takes down what it sees, and says what it was told to say.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Observed, Reads, Seen, fields};

/// Shared by the handler and by whoever watches it.
#[derive(Clone, Debug, Default)]
pub struct Stage(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    seen: Vec<Seen>,
    refused: Option<String>,
    reads: Reads,
    said: Option<Said>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Said {
    pub status: u16,
    pub fields: Vec<(&'static str, &'static str)>,
    pub pieces: Vec<&'static str>,
    pub trailers: Vec<(&'static str, &'static str)>,
    /// What the body says of its length.
    pub length: Option<u64>,
    /// Behind its pieces the body breaks off.
    pub breaks: bool,
}

/// Its body.
#[derive(Debug)]
pub struct Pieces {
    frames: VecDeque<io::Result<Frame<Bytes>>>,
    length: Option<u64>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.frames.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Stage {
    /// For the next connection. `said`: in place of a short answer that names the number of its request.
    pub fn begin(&self, reads: Reads, said: Option<Said>) {
        *self.lock() = Inner { reads, said, ..Inner::default() };
    }

    /// A head could not be read.
    pub fn refuse(&self, why: String) {
        self.lock().refused = Some(why);
    }

    pub fn refused(&self) -> Option<String> {
        self.lock().refused.take()
    }

    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    /// The answer to a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Pieces>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Debug,
    {
        let (head, mut body) = request.into_parts();
        let number = {
            let mut inner = self.lock();
            inner.seen.push(Seen {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                version: head.version,
                fields: fields(&head.headers),
                body: Bytes::new(),
                trailers: None,
                cut: Some("nobody read it to its end".into()),
            });
            inner.seen.len()
        };
        let whole = self.lock().reads == Reads::Whole;
        let (mut content, mut trailers, mut cut) = (BytesMut::new(), None, None);
        while whole && let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => content.extend_from_slice(&data),
                Ok(Err(frame)) => trailers = frame.trailers_ref().map(fields),
                Err(error) => {
                    cut = Some(format!("{error:?}"));
                    break;
                }
            }
        }
        let mut inner = self.lock();
        if let Some(seen) = inner.seen.get_mut(number - 1) {
            (seen.body, seen.trailers, seen.cut) = (content.freeze(), trailers, cut);
        }
        match &inner.said {
            Some(said) => said.response(),
            None => numbered(number, &head.method),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its body is the number of its request. A 2xx to CONNECT would be the begin of a tunnel.
fn numbered(number: usize, method: &Method) -> Response<Pieces> {
    let body = Bytes::from(number.to_string());
    let length = Some(body.len() as u64);
    let mut response = Response::new(Pieces { frames: [Ok(Frame::data(body))].into(), length });
    if method == Method::CONNECT {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    response
}

impl Said {
    fn response(&self) -> Response<Pieces> {
        let data = |piece: &&'static str| Ok(Frame::data(Bytes::from_static(piece.as_bytes())));
        let mut frames: VecDeque<_> = self.pieces.iter().map(data).collect();
        if self.breaks {
            frames.push_back(Err(io::ErrorKind::BrokenPipe.into()));
        } else if !self.trailers.is_empty() {
            frames.push_back(Ok(Frame::trailers(map(&self.trailers))));
        }
        let mut response = Response::new(Pieces { frames, length: self.length });
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        *response.headers_mut() = map(&self.fields);
        response
    }
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// What was seen of a connection.
pub fn observed(stage: &Stage, talk: super::talk::Talk) -> Observed {
    use super::End;
    let end = match stage.refused() {
        Some(words) => End::Refused(words),
        None if talk.closed => End::Closed,
        None => End::Open,
    };
    Observed { requests: stage.seen(), end, written: talk.written }
}
