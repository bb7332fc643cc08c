//! What the codecs of HTTP/1 have in common, on the client's side and on the upstream's: [`chunks`] are read and
//! [`outbox`] writes, over [`text`] that is put together once. Pure, but for the one write. It knows no message, and
//! decides nothing.

pub(crate) mod chunks;
pub(crate) mod outbox;
pub(crate) mod text;

pub(crate) use chunks::may_trail;
pub(crate) use outbox::Outbox;
pub(crate) use text::Text;
