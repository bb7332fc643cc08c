//! The two messages of `grpc.health.v1`, by hand: one text out, one number in.
//!
//! ```text
//! message HealthCheckRequest  { string service = 1; }
//! message HealthCheckResponse { ServingStatus status = 1; }   UNKNOWN 0, SERVING 1, NOT_SERVING 2, SERVICE_UNKNOWN 3
//! ```
//!
//! Each travels behind five bytes: compressed or not, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
//! Nothing here waits or allocates by what a peer says.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// What a server may say in a message; one that knows fields of the future stays far below it.
pub(super) const LONGEST: usize = 4 << 10;

/// The five bytes before a message.
pub(super) const PREFIX: usize = 5;

/// The key of field 1 with a length, and with a number. (Protocol Buffers, "Encoding": field << 3 | wire type.)
const SERVICE: u8 = 1 << 3 | 2;
const STATUS: u64 = 1 << 3;

/// What a server says of itself or of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
    /// A word of the future.
    Other(u64),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("UNKNOWN"),
            Self::Serving => f.write_str("SERVING"),
            Self::NotServing => f.write_str("NOT_SERVING"),
            Self::ServiceUnknown => f.write_str("SERVICE_UNKNOWN"),
            Self::Other(number) => write!(f, "the serving status {number}"),
        }
    }
}

/// The request about this service, with its prefix; empty: the whole server.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::with_capacity(PREFIX + service.len() + 12);
    message.put_bytes(0, PREFIX);
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len() - PREFIX).unwrap_or(u32::MAX);
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    message.freeze()
}

/// The body of an answer: one message, whole and plain.
///
/// # Errors
/// What it is in place of that, as the end of `gives …`.
pub(super) fn answer(body: &[u8]) -> Result<Status, &'static str> {
    let Some((&[compressed, a, b, c, d], message)) = body.split_first_chunk() else {
        return Err(if body.is_empty() { "no message" } else { "a message that is cut off" });
    };
    if compressed != 0 {
        return Err("a compressed message, which nobody asked for");
    }
    match (u32::from_be_bytes([a, b, c, d]) as usize).cmp(&message.len()) {
        std::cmp::Ordering::Greater => Err("a message that is cut off"),
        std::cmp::Ordering::Less => Err("more than one message"),
        std::cmp::Ordering::Equal => status(message).ok_or("a message that is no HealthCheckResponse"),
    }
}

/// The status in a `HealthCheckResponse`; what is unsaid is 0, of several the last one counts, other fields are
/// skipped.
fn status(mut message: &[u8]) -> Option<Status> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let number = varint(&mut message)?;
                if key == STATUS {
                    status = number;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
        // Field 0 does not exist, and the status is a number.
        if key >> 3 == 0 || (key >> 3 == 1 && key != STATUS) {
            return None;
        }
    }
    Some(match status {
        0 => Status::Unknown,
        1 => Status::Serving,
        2 => Status::NotServing,
        3 => Status::ServiceUnknown,
        other => Status::Other(other),
    })
}

/// Takes a number off the front: seven bits a byte, the lowest first, at most ten bytes.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for index in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.put_u8(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], message].concat()
    }

    #[test]
    fn the_bytes_are_those_that_everybody_writes() {
        assert_eq!(&request("")[..], [0; 5]);
        assert_eq!(&request("shop.Cart")[..], b"\0\0\0\0\x0b\x0a\x09shop.Cart");
        for (message, wanted) in [
            (&b""[..], Status::Unknown),
            (b"\x08\x00", Status::Unknown),
            (b"\x08\x01", Status::Serving),
            (b"\x08\x02", Status::NotServing),
            (b"\x08\x03", Status::ServiceUnknown),
            (b"\x08\x07", Status::Other(7)),
            (b"\x08\x02\x08\x01", Status::Serving),
        ] {
            assert_eq!(answer(&framed(message)), Ok(wanted), "{message:?}");
        }
    }

    #[test]
    fn what_is_no_answer_says_what_it_is() {
        for (body, said) in [
            (&b""[..], "no message"),
            (b"\0\0\0", "cut off"),
            (b"\0\0\0\0\x02\x08", "cut off"),
            (b"\x01\0\0\0\x02\x08\x01", "compressed"),
            (b"\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01", "more than one"),
            (b"\0\0\0\0\x01\x08", "no HealthCheckResponse"),
            (b"\0\0\0\0\x03\x0a\x01x", "no HealthCheckResponse"),
            (b"\0\0\0\0\x02\x0b\x01", "no HealthCheckResponse"),
            (b"\0\xff\xff\xff\xff\x08\x01", "cut off"),
        ] {
            let error = answer(body).unwrap_err();
            assert!(error.contains(said), "{body:?}: {error}");
        }
    }

    /// Fields that a server of the future may send: number, bytes of each wire type.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        let key = |number: u64, wire: u64| {
            let mut out = BytesMut::new();
            put_varint(&mut out, number << 3 | wire);
            out.to_vec()
        };
        prop_oneof![
            (2u64..1 << 29, any::<u64>()).prop_map(move |(n, value)| {
                let mut out = BytesMut::from(&key(n, 0)[..]);
                put_varint(&mut out, value);
                out.to_vec()
            }),
            (2u64..1 << 29, any::<[u8; 8]>()).prop_map(move |(n, value)| [key(n, 1), value.to_vec()].concat()),
            (2u64..1 << 29, any::<[u8; 4]>()).prop_map(move |(n, value)| [key(n, 5), value.to_vec()].concat()),
            (2u64..1 << 29, prop::collection::vec(any::<u8>(), 0..200)).prop_map(move |(n, value)| {
                let mut out = BytesMut::from(&key(n, 2)[..]);
                put_varint(&mut out, value.len() as u64);
                [out.to_vec(), value].concat()
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_service_is_asked_for_in_one_message(service in "\\PC{0,200}") {
            let bytes = request(&service);
            let (prefix, message) = bytes.split_at(PREFIX);
            prop_assert_eq!(prefix[0], 0);
            prop_assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
            if service.is_empty() {
                prop_assert!(message.is_empty());
            } else {
                let mut rest = &message[1..];
                prop_assert_eq!(message[0], SERVICE);
                prop_assert_eq!(varint(&mut rest), Some(service.len() as u64));
                prop_assert_eq!(rest, service.as_bytes());
            }
        }

        #[test]
        fn numbers_go_there_and_back(number: u64, more in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut out = BytesMut::new();
            put_varint(&mut out, number);
            out.put_slice(&more);
            let mut rest = &out[..];
            prop_assert_eq!(varint(&mut rest), Some(number));
            prop_assert_eq!(rest, &more[..]);
        }

        #[test]
        fn other_fields_do_not_hide_the_status(
            before in prop::collection::vec(field(), 0..4), status in 0u64..5, after in prop::collection::vec(field(), 0..4)
        ) {
            let message = [before.concat(), vec![8, status.to_le_bytes()[0]], after.concat()].concat();
            let alone = framed(&[8, status.to_le_bytes()[0]]);
            prop_assert_eq!(answer(&framed(&message)), answer(&alone));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64), cut in 0usize..40) {
            let _ = (answer(&body), answer(&framed(&body)));
            // A message that is cut never passes.
            let whole = framed(&[8, 1, 0x12, 3, 1, 2, 3]);
            if cut < whole.len() {
                prop_assert!(answer(&whole[..cut]).is_err());
            }
        }
    }
}
