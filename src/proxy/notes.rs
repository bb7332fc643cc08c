//! What the fields of a request hold that means something to causeway, found in one pass: whoever asks for a field then
//! knows whether it is there, and nobody looks for what is not. Reads the head, judges nothing.

use http::header::{HeaderMap, HeaderValue};

/// See the module. A field that is only marked is read where it matters, with [`values`](super::headers::values).
#[derive(Clone, Debug, Default)]
pub(super) struct Notes<'a> {
    /// The first Host, and whether there are more.
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) hosts: bool,
    pub(super) user_agent: Option<&'a HeaderValue>,
    pub(super) referer: Option<&'a HeaderValue>,
    pub(super) authorization: Option<&'a HeaderValue>,
    pub(super) traceparent: Option<&'a HeaderValue>,
    pub(super) content_length: Option<&'a HeaderValue>,
    pub(super) connection: bool,
    pub(super) transfer_encoding: bool,
    pub(super) te: bool,
    pub(super) upgrade: bool,
    pub(super) expect: bool,
    pub(super) via: bool,
    /// X-Forwarded-For or -Proto: the peer speaks for somebody else.
    pub(super) forwarded: bool,
}

impl<'a> Notes<'a> {
    pub(super) fn of(fields: &'a HeaderMap) -> Self {
        let mut notes = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "host" => notes.hosts = notes.host.replace(notes.host.unwrap_or(value)).is_some(),
                "user-agent" => notes.user_agent = notes.user_agent.or(Some(value)),
                "referer" => notes.referer = notes.referer.or(Some(value)),
                "authorization" => notes.authorization = notes.authorization.or(Some(value)),
                "traceparent" => notes.traceparent = notes.traceparent.or(Some(value)),
                "content-length" => notes.content_length = notes.content_length.or(Some(value)),
                "connection" => notes.connection = true,
                "transfer-encoding" => notes.transfer_encoding = true,
                "te" => notes.te = true,
                "upgrade" => notes.upgrade = true,
                "expect" => notes.expect = true,
                "via" => notes.via = true,
                "x-forwarded-for" | "x-forwarded-proto" => notes.forwarded = true,
                _ => {}
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderName};
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 16] = [
        "host",
        "user-agent",
        "referer",
        "authorization",
        "traceparent",
        "content-length",
        "connection",
        "transfer-encoding",
        "te",
        "upgrade",
        "expect",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "accept",
        "x-forwarded-form",
    ];

    proptest! {
        #[test]
        fn the_pass_finds_what_lookups_find(picked in proptest::collection::vec((0..NAMES.len(), 0..9_u8), 0..12)) {
            let mut fields = HeaderMap::new();
            for (index, value) in picked {
                fields.append(HeaderName::from_static(NAMES[index]), HeaderValue::from(u16::from(value)));
            }
            let notes = Notes::of(&fields);
            prop_assert_eq!(notes.host, fields.get(header::HOST));
            prop_assert_eq!(notes.hosts, fields.get_all(header::HOST).iter().count() > 1);
            prop_assert_eq!(notes.user_agent, fields.get(header::USER_AGENT));
            prop_assert_eq!(notes.referer, fields.get(header::REFERER));
            prop_assert_eq!(notes.authorization, fields.get(header::AUTHORIZATION));
            prop_assert_eq!(notes.traceparent, fields.get("traceparent"));
            prop_assert_eq!(notes.content_length, fields.get(header::CONTENT_LENGTH));
            let forwarded = fields.contains_key("x-forwarded-for") || fields.contains_key("x-forwarded-proto");
            for (noted, there) in [
                (notes.connection, fields.contains_key(header::CONNECTION)),
                (notes.transfer_encoding, fields.contains_key(header::TRANSFER_ENCODING)),
                (notes.te, fields.contains_key(header::TE)),
                (notes.upgrade, fields.contains_key(header::UPGRADE)),
                (notes.expect, fields.contains_key(header::EXPECT)),
                (notes.via, fields.contains_key(header::VIA)),
                (notes.forwarded, forwarded),
            ] {
                prop_assert_eq!(noted, there, "{:?}", fields);
            }
        }
    }
}
