//! Words of HTTP as the file writes them: methods, fields, statuses, hosts, paths.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::super::model::HostPattern;
use super::super::problem::Wrong;

/// A method that can be forwarded.
pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    let upper = text.to_ascii_uppercase();
    if matches!(upper.as_str(), "*" | "ANY" | "ALL") {
        return Err(Wrong::new(format!("\"{text}\" is not a method"), "to take any method, leave methods out"));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err(Wrong::new("CONNECT is never forwarded", "take it out")),
        Ok(method) if text == upper => Ok(method),
        Ok(_) => Err(Wrong::new(format!("\"{text}\": methods are upper case"), format!("write \"{upper}\""))),
        Err(_) => Err(Wrong::new(format!("\"{text}\" is not a method"), "write it like \"GET\"")),
    }
}

/// A value for Host: an authority without a user.
pub(super) fn host_value(text: &str) -> Result<HeaderValue, Wrong> {
    if text.contains(['$', '{', '}']) {
        let hint = "\"client\" is the client's Host, \"upstream\" the upstream's address";
        return Err(Wrong::new(format!("\"{text}\": there are no variables here"), hint));
    }
    let valid = text.parse::<http::uri::Authority>().is_ok_and(|a| a.as_str() == text) && !text.contains('@');
    let value = HeaderValue::from_str(text).ok().filter(|_| valid);
    value.ok_or_else(|| {
        Wrong::new(format!("\"{text}\" cannot be a Host"), "write it like \"app.example\" or \"app.example:8080\"")
    })
}

/// A media type for Content-Type.
pub(super) fn content_type(text: &str) -> Result<HeaderValue, Wrong> {
    let value = HeaderValue::from_str(text).ok().filter(|v| text.contains('/') && v.to_str().is_ok());
    value.ok_or_else(|| {
        Wrong::new(format!("\"{text}\" is not a media type"), "write it like \"text/html; charset=utf-8\"")
    })
}

/// A field that a health check may carry: not those that causeway makes or that frame the message.
pub(super) fn check_field(name: &str) -> Result<HeaderName, Wrong> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(Wrong::new(format!("\"{name}\" is not the name of a field"), "write it like \"X-Probe\""));
    };
    match parsed.as_str() {
        "host" => Err(Wrong::new("Host has a key of its own", "write host_header = \"...\" in the health table")),
        "connection" | "content-length" | "transfer-encoding" | "te" | "trailer" | "upgrade" | "keep-alive"
        | "expect" => Err(Wrong::new(format!("{name} belongs to the connection"), "take it out")),
        _ => Ok(parsed),
    }
}

/// The value of a field.
pub(super) fn field_value(text: &str) -> Result<HeaderValue, Wrong> {
    let value = HeaderValue::from_str(text).ok().filter(|_| text.trim() == text && text.is_ascii());
    value.ok_or_else(|| Wrong::new("this cannot be the value of a field", "use printable ASCII, no space at its ends"))
}

/// `"200-399"`, `"200, 204, 300-399"`: inclusive ranges.
pub(super) fn statuses(text: &str) -> Result<Vec<(u16, u16)>, Wrong> {
    let one = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let status = |s: &str| s.trim().parse::<u16>().ok().filter(|s| (100..=599).contains(s));
        status(from).zip(status(to)).filter(|(from, to)| from <= to)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(one).collect();
    let hint = "write it like \"200-399\" or \"200, 204\", each from 100 to 599";
    ranges.ok_or_else(|| Wrong::new(format!("\"{text}\" is not a range of statuses"), hint))
}

/// `api.example.com`, `*.example.com`; a port is dropped, case ignored.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, Wrong> {
    let wrong = |hint: &str| Err(Wrong::new(format!("\"{text}\" is not a host"), hint));
    let sample = "write it like \"api.example.com\" or \"*.example.com\"";
    let lower = text.to_ascii_lowercase();
    let host = match lower.rfind(':') {
        Some(colon) if !lower[colon..].contains(']') && lower[colon + 1..].parse::<u16>().is_ok() => &lower[..colon],
        _ => &lower,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if matches!(host, "*" | "_") {
        return wrong("to take any host, leave hosts out");
    }
    if let Some(inside) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match inside.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(HostPattern::Exact(host.into())),
            Err(_) => wrong(sample),
        };
    }
    let fine =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let (suffix, labels) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
    if labels.contains("://") || labels.contains('/') {
        let host = labels.rsplit_once("://").map_or(labels, |(_, rest)| rest).split('/').next().unwrap_or("");
        return wrong(&format!("a host has no scheme and no path: write \"{host}\""));
    }
    if labels.contains('*') {
        return wrong("\"*\" stands only in front, as in \"*.example.com\"");
    }
    if labels.len() > 253 || !labels.split('.').all(fine) {
        return wrong(sample);
    }
    Ok(if suffix { HostPattern::Suffix(format!(".{labels}")) } else { HostPattern::Exact(labels.into()) })
}

/// A route's path, or what replaces it, in normal form (RFC 3986 §6.2.2) without a slash at its end.
pub(super) fn path_prefix(text: &str) -> Result<String, Wrong> {
    let wrong = |message: &str, hint: String| Err(Wrong::new(format!("\"{text}\" {message}"), hint));
    let pattern = || "write a plain path: \"/api\" takes everything below it too".to_owned();
    if text.starts_with(['~', '^', '=', '*']) {
        return wrong("is a pattern", pattern());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return wrong("is more than a path", format!("write \"{path}\"; the host has a key of its own, hosts"));
    }
    if !text.starts_with('/') {
        return wrong("does not start with \"/\"", format!("write \"/{text}\""));
    }
    if let Some(at) = text.find(['?', '#']) {
        return wrong("is more than a path", format!("write \"{}\"", &text[..at]));
    }
    if text.contains(['*', '^', '$', '{', '}', '\\']) {
        return wrong("is a pattern", pattern());
    }
    if text.contains("//") {
        return wrong("has an empty part", "write one \"/\" in a row".into());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '%' {
            let Some(byte) = rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
                return wrong("has a \"%\" without two hex digits", "write \"%25\" for a percent sign".into());
            };
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&rest[..3]);
            }
            rest = &rest[3..];
        } else if c.is_ascii_graphic() && !"\"<>`|".contains(c) {
            out.push(c);
            rest = &rest[1..];
        } else {
            let mut utf8 = [0; 4];
            let escaped: String = c.encode_utf8(&mut utf8).bytes().map(|b| format!("%{b:02X}")).collect();
            return wrong("has a character that no path has", format!("write {escaped} for it"));
        }
    }
    if out.split('/').any(|segment| segment == "." || segment == "..") {
        return wrong("has \".\" or \"..\" in it", "write the path that it leads to".into());
    }
    let trimmed = out.strip_suffix('/').unwrap_or(&out);
    Ok(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
}

/// The path and query of a health check.
pub(super) fn check_path(text: &str) -> Result<String, Wrong> {
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let hint = format!("write \"{path}\": each upstream is asked at its own address");
        return Err(Wrong::new(format!("\"{text}\" is more than a path"), hint));
    }
    if !text.starts_with('/') {
        return Err(Wrong::new(format!("\"{text}\" does not start with \"/\""), format!("write \"/{text}\"")));
    }
    if text.contains('#') || !text.bytes().all(|b| b.is_ascii_graphic()) || text.parse::<http::Uri>().is_err() {
        return Err(Wrong::new(format!("\"{text}\" is not a path"), "write it like \"/healthz\""));
    }
    Ok(text.into())
}

/// The service that a gRPC check asks about.
pub(super) fn grpc_service(text: &str) -> Result<String, Wrong> {
    let wrong = |hint: String| Err(Wrong::new(format!("\"{text}\" is not the name of a gRPC service"), hint));
    let sample = "write it like \"shop.v1.Cart\"; leave path out to ask about the whole server";
    if let Some(name) = text.strip_prefix('/') {
        // Somebody's path, or the method's own.
        let name = name.split('/').next().unwrap_or_default();
        return wrong(match name {
            "" | "grpc.health.v1.Health" => sample.into(),
            name => format!("write \"{name}\", the service alone"),
        });
    }
    if text.len() > 200 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return wrong(sample.into());
    }
    Ok(text.into())
}

/// This proxy in Via and Proxy-Status: an RFC 9110 token that is an RFC 9651 token too.
pub(super) fn pseudonym(text: &str) -> Result<Arc<str>, Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.len() > 64 || !text.starts_with(|c: char| c.is_ascii_alphabetic()) || !text.bytes().all(fine) {
        let hint = "use a letter, then up to 63 letters, digits, \"-\", \"_\" and \".\"";
        return Err(Wrong::new(format!("\"{text}\" cannot be this proxy's name"), hint));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_come_to_one_form() {
        for (text, wanted) in [
            ("/", Some("/")),
            ("/api/", Some("/api")),
            ("/%61pi%2f", Some("/api%2f")),
            ("api", None),
            ("/a/../b", None),
            ("/a/%2e%2E/b", None),
            ("/api/*", None),
            ("/a?b", None),
            ("/a b", None),
            ("/%", None),
            ("/%\u{e4}", None),
            ("/\u{e4}", None),
            ("//a", None),
        ] {
            assert_eq!(path_prefix(text).ok().as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn hosts_statuses_methods() {
        assert_eq!(host_pattern("API.example.com:80").unwrap(), HostPattern::Exact("api.example.com".into()));
        assert_eq!(host_pattern("*.Example.com").unwrap(), HostPattern::Suffix(".example.com".into()));
        assert_eq!(host_pattern("[::1]:80").unwrap(), HostPattern::Exact("[::1]".into()));
        for bad in ["", "*", "a*b", "*.*.com", "https://x", "a b", "x/y", ".example.com", "[x]"] {
            assert!(host_pattern(bad).is_err(), "{bad}");
        }
        assert_eq!(statuses("200, 300-399"), Ok(vec![(200, 200), (300, 399)]));
        for bad in ["", "2xx", "399-200", "99", "600", "200,"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
        assert!(method("get").unwrap_err().hint.contains("GET"));
        assert!(host_value("a b").is_err() && host_value("u@h").is_err() && host_value("h:1").is_ok());
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(text in "\\PC{0,20}|/[a-z/%0-9.~]{0,20}") {
            if let Ok(path) = path_prefix(&text) {
                prop_assert_eq!(path_prefix(&path), Ok(path.clone()));
            }
            let _ = (host_pattern(&text), check_path(&text), host_value(&text), statuses(&text));
        }
    }
}
