//! The head of an answer as bytes, and how its body is framed behind it (RFC 9112 §4, §6). Pure but for the date.
//!
//! The fields are the handler's; what is said of the connection and of the framing is written here, whatever they say.

use http::header::{self, HeaderMap};
use http::{StatusCode, response};

use super::head::{Asked, has_token, length};
use crate::listen::date;
use crate::message::Text;
use crate::message::text::decimal;

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is none.
    Bodiless,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk; trailers may follow.
    Chunked { trailers: bool },
    /// With the connection.
    UntilClose,
    /// There is none: another protocol begins.
    Switched,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) ending: Ending,
    /// Nothing is read after it.
    pub(super) closing: bool,
}

/// Writes the head. `body`: its length, where it is known; `closing`: the connection ends after it, whatever
/// the handler says.
pub(super) fn write(
    head: &response::Parts,
    body: Option<u64>,
    asked: Asked,
    closing: bool,
    text: &mut Text,
) -> Written {
    text.open();
    if head.status == StatusCode::OK && !asked.http10 {
        text.put([b"HTTP/1.1 200 OK\r\n"]);
    } else {
        let version: &[u8] = if asked.http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
        let reason = head.status.canonical_reason().unwrap_or_default();
        text.put([version, head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        switch(&head.headers, text);
        return Written { ending: Ending::Switched, closing: false };
    }
    let bodiless = asked.to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let (mut dated, mut given, mut closing) = (false, None, closing || !asked.keep_alive);
    for (name, value) in &head.headers {
        if *name == header::CONTENT_LENGTH {
            given = Some(value);
            continue;
        } else if *name == header::CONNECTION {
            closing |= has_token(value.as_bytes(), "close");
            continue;
        } else if *name == header::TRANSFER_ENCODING {
            continue;
        }
        dated |= *name == header::DATE;
        text.field(name, value);
    }
    if !dated {
        text.field(&header::DATE, &date::now());
    }
    let said = given.and_then(|given| length(given.as_bytes()));
    let ending = match body.or(said) {
        _ if bodiless => Ending::Bodiless,
        Some(length) => Ending::Length(length),
        None if asked.http10 => Ending::UntilClose,
        None => Ending::Chunked { trailers: asked.trailers },
    };
    closing |= ending == Ending::UntilClose;
    match ending {
        Ending::Length(length) => {
            text.put([b"content-length: ", decimal(length, &mut [0; 20]), b"\r\n"]);
        }
        Ending::Chunked { .. } => text.put([b"transfer-encoding: chunked\r\n"]),
        // Of the body that it would have had (RFC 9110 §8.6).
        Ending::Bodiless if head.status != StatusCode::NO_CONTENT => {
            if let Some(length) = said.or_else(|| body.filter(|exact| asked.to_head && *exact > 0)) {
                text.put([b"content-length: ", decimal(length, &mut [0; 20]), b"\r\n"]);
            }
        }
        Ending::Bodiless | Ending::UntilClose | Ending::Switched => {}
    }
    match (closing, asked.http10) {
        (true, _) => text.put([b"connection: close\r\n\r\n"]),
        (false, true) => text.put([b"connection: keep-alive\r\n\r\n"]),
        (false, false) => text.put([b"\r\n"]),
    }
    Written { ending, closing }
}

/// Here Connection and Upgrade are the handler's words. No body follows.
fn switch(fields: &HeaderMap, text: &mut Text) {
    for (name, value) in fields {
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            text.field(name, value);
        }
    }
    if !fields.contains_key(header::DATE) {
        text.field(&header::DATE, &date::now());
    }
    text.put([b"\r\n"]);
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    /// The head without its date, what was said of the body, and whether the connection closes.
    fn written(status: u16, fields: &[(&str, &str)], body: Option<u64>, asked: Asked) -> (String, Written) {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        let mut text = Text::default();
        let said = write(&head, body, asked, false, &mut text);
        let text = String::from_utf8(text.as_slice().to_vec()).unwrap();
        let (undated, dates): (Vec<_>, Vec<_>) =
            text.split_inclusive("\r\n").partition(|line| !line.starts_with("date:"));
        assert_eq!(dates.len(), 1, "{text}");
        (undated.concat(), said)
    }

    const KEPT: Asked = Asked {
        http10: false,
        keep_alive: true,
        to_head: false,
        expects: false,
        upgrades: false,
        trailers: false,
        ends: false,
    };

    #[test]
    fn the_framing_is_written_from_the_body_whatever_the_fields_say() {
        let said = [("transfer-encoding", "gzip"), ("connection", "x"), ("a", "b")];
        let (text, known) = written(200, &said, Some(5), KEPT);
        assert_eq!(text, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(known, Written { ending: Ending::Length(5), closing: false });
        let (text, unknown) = written(404, &said, None, Asked { trailers: true, ..KEPT });
        assert_eq!(text, "HTTP/1.1 404 Not Found\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(unknown.ending, Ending::Chunked { trailers: true });
        let (text, empty) = written(599, &[], Some(0), KEPT);
        assert_eq!(text, "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n");
        assert_eq!(empty.ending, Ending::Length(0));
    }

    #[test]
    fn where_no_body_may_be_none_is_announced() {
        for (status, to_head, body, given, length) in [
            (204, false, Some(9), Some("9"), None),
            (304, false, Some(0), Some("77"), Some("77")),
            (304, false, Some(9), None, None),
            (200, true, Some(0), Some("9"), Some("9")),
            (200, true, Some(9), None, Some("9")),
            (200, true, Some(0), None, None),
            (200, true, None, None, None),
        ] {
            let fields: Vec<_> = given.map(|length| ("content-length", length)).into_iter().collect();
            let (text, said) = written(status, &fields, body, Asked { to_head, ..KEPT });
            let announced = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!((announced, said.ending), (length, Ending::Bodiless), "{status} {to_head} {body:?} {given:?}");
        }
    }

    #[test]
    fn what_becomes_of_the_connection_is_said_in_the_clients_version() {
        let end = |asked, fields: &[(&str, &str)], body| {
            let (text, said) = written(200, fields, body, asked);
            let connection = text.lines().find_map(|line| line.strip_prefix("connection: ")).map(str::to_owned);
            (text.starts_with("HTTP/1.0 "), connection, said.closing)
        };
        let word = |word: &str| Some(word.to_owned());
        assert_eq!(end(KEPT, &[], Some(1)), (false, None, false));
        assert_eq!(end(KEPT, &[("connection", "Close")], Some(1)), (false, word("close"), true));
        assert_eq!(end(Asked { keep_alive: false, ..KEPT }, &[], None), (false, word("close"), true));
        let old = Asked { http10: true, ..KEPT };
        assert_eq!(end(old, &[], Some(1)), (true, word("keep-alive"), false));
        assert_eq!(end(old, &[], None), (true, word("close"), true));
        assert_eq!(written(200, &[], None, old).1.ending, Ending::UntilClose);
    }

    #[test]
    fn a_switch_says_what_the_handler_says() {
        let fields = [("connection", "upgrade"), ("upgrade", "echo"), ("content-length", "1")];
        let (text, said) = written(101, &fields, Some(0), KEPT);
        assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        assert_eq!(said, Written { ending: Ending::Switched, closing: false });
    }
}
