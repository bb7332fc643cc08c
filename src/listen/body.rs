//! The request body as a [`Handler`](super::Handler) sees it: under the client's silence clock, its failures named.
//!
//! It remembers whether it was read to its end, so that the connection knows whether an answer must carry `Connection: close`.
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::cause::Failure;

/// A request body. Its errors are the client's: `client_timeout` (408), `client_invalid` (400), `client_closed`.
#[derive(Debug)]
pub struct RequestBody {
    _todo: (),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;
    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        todo!()
    }
    fn is_end_stream(&self) -> bool {
        todo!()
    }
    fn size_hint(&self) -> SizeHint {
        todo!()
    }
}
