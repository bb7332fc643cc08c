//! What a route asks for besides: `compress`, `rate_limit`, `allow`, `deny`, `basic_auth` and the rules for fields. All
//! that could go wrong with a request is a problem here; only what a placeholder brings is left to be looked at.

use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};

use super::super::context::nearest;
use super::super::model::{FieldRules, FieldValue, Layers, Part, Placeholder, Rate};
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::{access, htpasswd, words};

/// Which way fields go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Response,
}

/// The placeholders of a field: those that every request has.
const PLACEHOLDERS: [(&str, Placeholder); 7] = [
    ("upstream", Placeholder::Upstream),
    ("pool", Placeholder::Pool),
    ("request_id", Placeholder::RequestId),
    ("client_ip", Placeholder::ClientIp),
    ("host", Placeholder::Host),
    ("scheme", Placeholder::Scheme),
    ("path", Placeholder::Path),
];

/// What the route asks for, if anything.
pub(super) fn layers(section: &Section<'_>, forwards: bool) -> Option<Box<Layers>> {
    let rate = section.text("rate_limit", "100/s", "/s");
    let rate_limit = rate.and_then(|(text, place)| section.cx.take(place, rate_of(text))).flatten();
    let mut layers = Layers {
        compress: section.flag("compress", false),
        rate_limit,
        allow: access::networks(section, "allow"),
        deny: access::networks(section, "deny"),
        basic_auth: htpasswd::users(section),
        request_headers: rules(&section.section("request_headers"), Way::Request),
        response_headers: rules(&section.section("response_headers"), Way::Response),
    };
    foolish(section, &layers);
    // The password is causeway's business, and no app's. What `set` or `add` says goes, all the same.
    if layers.basic_auth.is_some() && forwards && !layers.request_headers.replaces(&header::AUTHORIZATION) {
        layers.request_headers.remove.push(header::AUTHORIZATION);
    }
    (!layers.is_empty()).then(|| Box::new(layers))
}

fn foolish(section: &Section<'_>, layers: &Layers) {
    let covers = |net: &ipnet::IpNet| layers.deny.0.iter().any(|deny| deny.contains(net));
    if let Some(net) = layers.allow.0.iter().find(|net| covers(net))
        && let Some(place) = section.value_place("allow")
    {
        let message = format!("nobody of {net} may come in: `deny` has it too, and goes before `allow`");
        section.cx.warn(place, message, "take it out of one of them");
    }
    if let Some(place) = access::everybody(section, "allow").filter(|_| layers.deny.0.is_empty()) {
        section.cx.warn(place, "every address of this kind may come in", "name networks, or take `allow` out");
    }
}

/// `"100/s"`, `"600/m"`, `"10000/h"`; `None`: "off".
fn rate_of(text: &str) -> Result<Option<Rate>, Wrong> {
    const MOST: u32 = 1_000_000;
    if text == "off" {
        return Ok(None);
    }
    let wrong = |hint: &str| Err(Wrong::new(format!("\"{text}\" is not a rate"), hint));
    let sample = "write it like \"100/s\" (units: s, m, h)";
    let Some((count, unit)) = text.split_once('/') else {
        let hint = if super::super::units::means_off(text) { "write \"off\"" } else { sample };
        return wrong(hint);
    };
    let per = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => {
            let letter = match other.trim().to_ascii_lowercase().as_str() {
                "sec" | "second" | "seconds" | "1s" => "s",
                "min" | "minute" | "minutes" | "1m" => "m",
                "hour" | "hours" | "1h" => "h",
                _ => return wrong(sample),
            };
            return wrong(&format!("write \"{}/{letter}\"", count.trim()));
        }
    };
    match count.parse::<u32>() {
        Ok(0) => Err(Wrong::new("\"0\" of anything is nobody at all", "use deny to keep clients out, or \"off\"")),
        Ok(n) if n <= MOST && count.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(Rate { count: n, per: Duration::from_secs(per) }))
        }
        Ok(_) => wrong("write a number from 1 to 1000000"),
        Err(_) => wrong(sample),
    }
}

fn rules(section: &Section<'_>, way: Way) -> FieldRules {
    let mut rules = FieldRules::default();
    let mut places: Vec<(HeaderName, &Place)> = Vec::new();
    for (key, key_place, text, place) in section.free("set") {
        let name = section.cx.take(key_place, field(key, way));
        let value = section.cx.take(place, value(text));
        let Some(name) = name else { continue };
        if places.iter().any(|(known, _)| *known == name) {
            section.cx.error(key_place, format!("the field {key} stands in `set` twice"), "case makes no difference");
            continue;
        }
        places.push((name.clone(), key_place));
        rules.set.extend(value.map(|value| (name, value)));
    }
    for (key, key_place, text, place) in section.free("add") {
        let name = section.cx.take(key_place, field(key, way));
        let value = section.cx.take(place, value(text));
        rules.add.extend(name.zip(value));
    }
    for (name, place) in section.texts_with_places("remove", "X-Name", |text| field(text, way)) {
        if places.iter().any(|(set, _)| *set == name) {
            let message = format!("`set` replaces {name} already: `remove` does nothing to it");
            section.cx.warn(place, message, "take one of them out");
        } else if !rules.remove.contains(&name) {
            rules.remove.push(name);
        }
    }
    rules
}

/// A name that rules may touch.
fn field(text: &str, way: Way) -> Result<HeaderName, Wrong> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err(Wrong::new(format!("\"{text}\" is not the name of a field"), "write it like X-Name"));
    };
    let no = |hint: &str| Err(Wrong::new(format!("the field {name} is not for rules to change"), hint));
    match (name.as_str(), way) {
        ("host", Way::Request) => no("write host_header in the pool"),
        ("via", Way::Request) => no("take it out: requests that go in a circle are found by it"),
        ("expect", Way::Request) => no("take it out: causeway answers it itself"),
        ("content-length" | "transfer-encoding", _) => no("take it out: causeway frames each body itself"),
        ("content-encoding", Way::Response) => no("take it out: it says how the body is written; see compress"),
        (
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization",
            _,
        ) => no("take it out: it belongs to one connection, and never passes"),
        _ => Ok(name),
    }
}

/// A value, cut at its placeholders.
fn value(text: &str) -> Result<FieldValue, Wrong> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((word, after)) = after.split_once("}}") else {
            return Err(Wrong::new("`{{` without `}}`", "write it like \"{{client_ip}}\""));
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let word = word.trim();
        match PLACEHOLDERS.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => parts.push(Part::Value(*value)),
            None => return Err(unknown(word)),
        }
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    for part in &parts {
        if let Part::Text(text) = part
            && (HeaderValue::from_str(text).is_err() || !text.is_ascii())
        {
            return Err(Wrong::new("this cannot be the value of a field", "use printable ASCII"));
        }
    }
    match parts.as_slice() {
        [] => Ok(FieldValue::Fixed(HeaderValue::from_static(""))),
        [Part::Text(text)] => {
            let theirs =
                ["$host", "$remote_addr", "$scheme", "$request_", "$http_", "$upstream_", "$proxy_", "%[", "%{"];
            if theirs.iter().any(|word| text.contains(word)) {
                let hint = "write {{host}}, {{client_ip}}, {{scheme}}, {{path}} or {{request_id}}";
                return Err(Wrong::new(format!("\"{text}\" has a variable of another proxy"), hint));
            }
            words::field_value(text.trim()).map(FieldValue::Fixed)
        }
        _ => Ok(FieldValue::Filled(parts)),
    }
}

fn unknown(word: &str) -> Wrong {
    let names = || PLACEHOLDERS.iter().map(|(name, _)| *name);
    let hint = match nearest(word, names()) {
        Some(name) => format!("did you mean {{{{{name}}}}}?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Wrong::new(format!("there is no placeholder {{{{{word}}}}}"), hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates() {
        let rate = |text: &str| rate_of(text).map(|rate| rate.map(|rate| rate.to_string()));
        for text in ["1/s", "600/m", "1000000/h"] {
            assert_eq!(rate(text), Ok(Some(text.to_owned())));
        }
        assert_eq!(rate("off"), Ok(None));
        for (text, hint) in [
            ("100/sec", "write \"100/s\""),
            ("10/minute", "write \"10/m\""),
            ("100", "write it like \"100/s\" (units: s, m, h)"),
            ("none", "write \"off\""),
            ("0/s", "use deny to keep clients out, or \"off\""),
            ("1000001/s", "write a number from 1 to 1000000"),
            ("+1/s", "write a number from 1 to 1000000"),
            ("-1/s", "write it like \"100/s\" (units: s, m, h)"),
        ] {
            assert_eq!(rate(text).unwrap_err().hint, hint, "{text}");
        }
    }

    #[test]
    fn values_are_cut_at_their_placeholders() {
        let text = |text: &str| Part::Text(text.into());
        let (host, path) = (Part::Value(Placeholder::Host), Part::Value(Placeholder::Path));
        let cut = FieldValue::Filled(vec![text("https://"), host, path]);
        assert_eq!(value("https://{{host}}{{ path }}"), Ok(cut));
        assert_eq!(value(" plain "), Ok(FieldValue::Fixed(HeaderValue::from_static("plain"))));
        for (bad, hint) in [
            ("{{hots}}", "did you mean {{host}}?"),
            ("{{status}}", "there are upstream, pool, "),
            ("{{", "write it like"),
            ("$host", "write {{host}}"),
        ] {
            assert!(value(bad).unwrap_err().hint.contains(hint), "{bad}");
        }
        assert!(value("a\r\nb").is_err() && value("{{host}}\0").is_err());
    }

    #[test]
    fn fields_that_frame_a_message_are_not_for_rules() {
        assert!(field("Host", Way::Request).unwrap_err().hint.contains("host_header"));
        for name in ["Connection", "Transfer-Encoding", "content-length", "TE", "Upgrade", "Keep-Alive"] {
            assert!(field(name, Way::Request).is_err() && field(name, Way::Response).is_err(), "{name}");
        }
        assert!(field("X Y", Way::Request).is_err() && field("", Way::Request).is_err());
        assert!(field("Via", Way::Response).is_ok() && field("X-Forwarded-Proto", Way::Request).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,30}|[{}a-z_ ]{0,20}|[0-9/smh]{0,8}") {
            let _ = (rate_of(&text), value(&text), field(&text, Way::Request));
        }
    }
}
