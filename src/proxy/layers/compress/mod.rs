//! `compress`: gzip, br or zstd, where the client takes it and it is worth it; never twice.
//!
//! [`mod@choose`] says which, [`worth`] whether and what it does to the head, [`encoder`] does it, [`stream`] over a
//! body that comes. tower-http's layer is not used: it sends nothing before its buffer is full however long the
//! upstream pauses, answers 406 to `identity;q=0`, and its bodies fail with a boxed error where ours say what went
//! wrong. This stands on the same codecs.

mod choose;
mod encoder;
mod stream;
mod worth;

use http::{Method, Response};

use super::super::{Asked, Body};
use super::touch::Touch;

use choose::choose;
pub(in crate::proxy) use encoder::Encoder;
pub(in crate::proxy) use stream::Encoded;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compress;

impl Touch for Compress {
    fn touch(&self, asked: &Asked<'_>, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let coding = choose(&asked.parts.headers);
        if head.status == http::StatusCode::NOT_MODIFIED {
            // The client has what a 200 would bring: the same name for it.
            if coding.is_some() {
                worth::weaken(&mut head.headers);
            }
            return Response::from_parts(head, body);
        }
        if !worth::worth(&head, http_body::Body::size_hint(&body).exact()) {
            return Response::from_parts(head, body);
        }
        worth::vary(&mut head.headers);
        let Some(coding) = coding else { return Response::from_parts(head, body) };
        worth::encoded(&mut head.headers, coding);
        if asked.parts.method == Method::HEAD {
            return Response::from_parts(head, body);
        }
        let body = body.encoded(|| Encoder::new(coding));
        if let Some(length) = http_body::Body::size_hint(&body).exact() {
            head.headers.insert(http::header::CONTENT_LENGTH, length.into());
        }
        Response::from_parts(head, body)
    }
}
