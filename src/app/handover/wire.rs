//! The words of a hand-over and the descriptors behind them, over a unix socket. Each message is its length in four
//! bytes and JSON; a descriptor comes with a byte of its own.
//!
//! Nothing here waits for ever by itself: whoever calls sets the limit. What does not fit the bounds is an error, never
//! kept.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// The version of this dialogue.
pub(super) const VERSION: u32 = 1;
/// Sockets in one hand-over: a thousand workers with a few addresses.
pub(super) const SOCKETS: usize = 8192;
/// Bytes of a message.
const MESSAGE: u32 = 1 << 20;

/// The newer process, first: what it speaks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) causeway_hand_over: u32,
}

/// The older one: what comes next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) causeway_hand_over: u32,
    /// What the config calls the address of each socket that follows; the last that follows, without a name, is the one
    /// that this dialogue came by.
    pub(super) sockets: Vec<String>,
    /// Why nothing follows.
    pub(super) refused: Option<String>,
}

/// The newer one: it serves from now on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Which of the sockets are in use, by their position.
    pub(super) kept: Vec<usize>,
}

/// The older one: it accepts no more.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub(super) leaving: bool,
}

pub(super) async fn send(to: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|&length| length <= MESSAGE).ok_or_else(too_long)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&text).await
}

pub(super) async fn receive<M: DeserializeOwned>(from: &mut UnixStream) -> io::Result<M> {
    let length = from.read_u32().await?;
    if length > MESSAGE {
        return Err(too_long());
    }
    // It grows with what really comes.
    let mut text = Vec::new();
    (&mut *from).take(length.into()).read_to_end(&mut text).await?;
    if text.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&text)?)
}

pub(super) async fn send_descriptor(to: &UnixStream, descriptor: &impl AsFd) -> io::Result<()> {
    to.async_io(Interest::WRITABLE, || {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(to, &[IoSlice::new(b"+")], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    })
    .await
}

pub(super) async fn receive_descriptor(from: &UnixStream) -> io::Result<OwnedFd> {
    from.async_io(Interest::READABLE, || {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let came = recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        if came.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let descriptor = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        descriptor.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a descriptor did not come"))
    })
    .await
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_and_descriptors_keep_their_order() {
        let (mut old, mut new) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let offer = Offer { causeway_hand_over: VERSION, sockets: vec!["127.0.0.1:80".into(); 3], refused: None };
        send(&mut old, &offer).await.unwrap();
        for _ in 0..3 {
            send_descriptor(&old, &listener).await.unwrap();
        }
        send(&mut old, &Leaving { leaving: true }).await.unwrap();
        let offer: Offer = receive(&mut new).await.unwrap();
        assert_eq!((offer.causeway_hand_over, offer.sockets.len()), (1, 3));
        for _ in 0..3 {
            let came = std::net::TcpListener::from(receive_descriptor(&new).await.unwrap());
            assert_eq!(came.local_addr().unwrap(), listener.local_addr().unwrap());
        }
        assert!(receive::<Leaving>(&mut new).await.unwrap().leaving);
        drop(old);
        assert!(receive_descriptor(&new).await.is_err());
    }

    #[tokio::test]
    async fn junk_is_an_error() {
        for junk in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x02{]", b"\0\0\0\x09{}", b"\0\0"] {
            let (mut old, mut new) = UnixStream::pair().unwrap();
            old.write_all(junk).await.unwrap();
            drop(old);
            assert!(receive::<Hello>(&mut new).await.is_err(), "{junk:?}");
        }
        let (mut old, new) = UnixStream::pair().unwrap();
        old.write_all(b"x").await.unwrap();
        assert!(receive_descriptor(&new).await.is_err(), "a byte without a descriptor");
    }
}
