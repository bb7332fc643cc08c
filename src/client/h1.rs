//! HTTP/1.1 to an upstream, over hyper's client connection: the codec, and the classification of its failures.

use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cause::Failure;

/// A response body: its frames under the silence clock (`timeouts.body`), its failures named.
#[derive(Debug)]
pub struct Body {
    _todo: (),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;
    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Failure>>> {
        todo!()
    }
}
