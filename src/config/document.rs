//! A configuration as a document, with every default, in the words of the file. Secrets are masked.
//!
//! It shows what holds, not what was written: networks instead of "private", and each route with its pool's clocks in
//! it. It is what `/api/config` shows, and what [`changes`](super::changes()) are looked for in.

mod pool;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value, json};

use super::certificate::{Authorities, Pair};
use super::model::{
    AccessFormat, Action, Config, Detail, Errors, FieldRules, FieldValue, HostPattern, Layers, Level, Listener,
    ListenerTls, Log, LogTarget, Networks, Notify, Part, Piece, Pool, Redirect, Respond, Route, Webhook,
};
use super::units::{duration_text, size_text};
use pool::{pool, retry, timeouts};

/// In place of what nobody should read.
const MASK: &str = "***";

/// What stands before a mark.
const MARK: char = '\0';
/// Digits of a mark.
const DIGITS: usize = 16;

/// The document, as anybody may read it.
#[must_use]
pub fn document(config: &Config) -> Value {
    let mut all = marked(config);
    unmark(&mut all);
    all
}

/// The text without its mark.
pub(super) fn unmarked(text: &str) -> &str {
    let digits = |mark: &str| mark.len() == DIGITS && mark.bytes().all(|b| b.is_ascii_hexdigit());
    text.rsplit_once(MARK).filter(|(_, mark)| digits(mark)).map_or(text, |(text, _)| text)
}

fn unmark(value: &mut Value) {
    match value {
        Value::String(text) => text.truncate(unmarked(text).len()),
        Value::Array(all) => all.iter_mut().for_each(unmark),
        Value::Object(all) => all.values_mut().for_each(unmark),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is shown, with a mark of what is not: the content of a file, a secret. It differs where that does, and nobody
/// can tell from it what it is of.
fn mark(shown: impl Display, hidden: &(impl Hash + ?Sized)) -> String {
    let mut hasher = DefaultHasher::new();
    hidden.hash(&mut hasher);
    format!("{shown}{MARK}{:0DIGITS$x}", hasher.finish())
}

/// The document with its marks: for comparing, and for nobody's eyes.
pub(super) fn marked(config: &Config) -> Value {
    json!({
        "name": &*config.name,
        "workers": config.workers.map_or_else(|| "auto".into(), |workers| Value::from(workers.get())),
        "trusted_proxies": networks(&config.trusted_proxies),
        "name_servers": config.pools.first().map(|pool| pool.name_servers.to_vec()).unwrap_or_default(),
        "listener": named(config.listeners.iter().map(|one| (&*one.name, listener(one)))),
        "admin": {
            "address": config.admin.as_ref().map_or_else(|| "off".to_owned(), text),
            "token_file": config.admin_token.as_ref().map(|token| mark(token.file.display(), token.text())).unwrap_or_default(),
        },
        "log": log(&config.log),
        "shutdown": { "grace": time(config.shutdown.grace), "timeout": time(config.shutdown.timeout) },
        "hand_over": config.hand_over.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "route": named(config.routes.iter().map(|one| (&*one.name, route(one, &config.pools)))),
        "pool": named(config.pools.iter().map(|one| (&*one.name, pool(one)))),
        "errors": errors(&config.errors),
        "notify": notify(&config.notify),
    })
}

/// What follows the program, and the path behind the host, may hold a secret.
fn notify(notify: &Notify) -> Value {
    let word = |(index, word): (usize, &String)| if index == 0 { word.clone() } else { mark(MASK, word) };
    let command: Vec<String> = notify.command.iter().enumerate().map(word).collect();
    let scheme = |url: &Webhook| if url.tls.is_some() { "" } else { "http://" }; // https:// stands in the address
    let url = notify.url.as_ref();
    let url = url
        .map(|url| mark(format_args!("{}{}/{MASK}", scheme(url), url.address), url.target.as_str()))
        .unwrap_or_default();
    json!({ "command": command, "url": url })
}

fn named<'a>(all: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(all.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn listener(one: &Listener) -> Value {
    let protocols: Vec<&str> = [("h1", one.protocols.h1), ("h2", one.protocols.h2)]
        .iter()
        .filter(|(_, spoken)| *spoken)
        .map(|(word, _)| *word)
        .collect();
    json!({
        "address": one.address.to_string(),
        "protocols": protocols,
        "proxy_protocol": networks(&one.proxy_protocol),
        "redirect_https": one.redirect_https,
        "timeouts": {
            "head": time(one.head_timeout),
            "body": time(one.body_timeout),
            "keep_alive": time(one.keep_alive),
            "tls": time(one.tls_timeout),
        },
        "tls": one.tls.as_ref().map_or_else(|| "off".into(), |tls| self::tls(tls)),
        "limits": {
            "head": size(one.head_limit),
            "fields": one.fields_limit,
            "connections": count_or(one.connections_limit, "auto"),
            "in_flight": count_or(one.in_flight_limit, "off"),
        },
    })
}

/// The files; what is in the keys is in no document.
fn tls(tls: &ListenerTls) -> Value {
    // A key is told from another one by what belongs to it and may be known.
    let pair = |pair: &Pair| {
        let chain: Vec<&[u8]> = pair.certified.cert.iter().map(AsRef::as_ref).collect();
        let public = pair.certified.key.public_key().map(|key| key.to_vec());
        json!({ "cert": mark(pair.cert.display(), &chain), "key": mark(pair.key.display(), &public) })
    };
    let authorities = |ca: &Authorities| {
        let keys: Vec<&[u8]> = ca.roots.roots.iter().map(|root| root.subject_public_key_info.as_ref()).collect();
        mark(ca.file.display(), &keys)
    };
    json!({
        "certificates": tls.certificates.iter().map(pair).collect::<Vec<_>>(),
        "client_ca": tls.client_ca.as_ref().map(authorities).unwrap_or_default(),
    })
}

fn log(log: &Log) -> Value {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let access = match log.access {
        AccessFormat::Auto => "auto",
        AccessFormat::Json => "json",
        AccessFormat::Combined => "combined",
        AccessFormat::Off => "off",
    };
    let target = |target: &LogTarget| match target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::Stdout => "stdout".to_owned(),
        LogTarget::File(file) => file.display().to_string(),
    };
    json!({ "level": level, "events": target(&log.events), "access": access, "access_to": target(&log.access_to) })
}

fn route(route: &Route, pools: &[std::sync::Arc<Pool>]) -> Value {
    let host = |host: &HostPattern| match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    };
    let mut all = json!({
        "hosts": route.hosts.iter().map(host).collect::<Vec<_>>(),
        "path": route.path,
        "methods": route.methods.iter().map(text).collect::<Vec<_>>(),
        "max_body": route.max_body.map_or_else(|| "off".to_owned(), size_text),
        "access_log": route.access_log,
    });
    let more = match &route.action {
        Action::Forward(forward) => json!({
            "pool": pools.get(forward.pool).map(|pool| &*pool.name),
            "replace_prefix": forward.replace_prefix.as_deref().unwrap_or_default(),
            "timeouts": timeouts(&forward.timeouts),
            "retry": retry(&forward.retry),
        }),
        Action::Redirect(target) => json!({ "redirect": redirect(target) }),
        Action::Respond(answer) => json!({ "respond": respond(answer) }),
    };
    let own = layers(route.layers.as_deref().unwrap_or(&Layers::default()));
    for more in [more, own] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn layers(layers: &Layers) -> Value {
    json!({
        "compress": layers.compress,
        "rate_limit": layers.rate_limit.as_ref().map_or_else(|| "off".to_owned(), text),
        "allow": networks(&layers.allow),
        "deny": networks(&layers.deny),
        "basic_auth": layers.basic_auth.as_ref().map(|users| mark(users.file.display(), &users.all)).unwrap_or_default(),
        "request_headers": rules(&layers.request_headers),
        "response_headers": rules(&layers.response_headers),
    })
}

/// What a field is called may be read, what it says may be a key.
fn rules(rules: &FieldRules) -> Value {
    let fields = |fields: &[(HeaderName, FieldValue)]| -> BTreeMap<String, String> {
        let said = |value: &FieldValue| match value {
            FieldValue::Fixed(value) => mark(MASK, value.as_bytes()),
            FieldValue::Filled(parts) => mark(MASK, &spelt(parts)),
        };
        fields.iter().map(|(name, value)| (name.to_string(), said(value))).collect()
    };
    let remove: Vec<String> = rules.remove.iter().map(text).collect();
    json!({ "set": fields(&rules.set), "add": fields(&rules.add), "remove": remove })
}

/// With its placeholders as they are written.
fn spelt(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Value(placeholder) => format!("{{{{{placeholder:?}}}}}"),
    };
    parts.iter().map(part).collect()
}

fn redirect(Redirect(pieces): &Redirect) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Host => "{{host}}".to_owned(),
        Piece::Path => "{{path}}".to_owned(),
    };
    without_userinfo(&pieces.iter().map(piece).collect::<String>())
}

fn respond(answer: &Respond) -> Value {
    json!({
        "status": answer.status,
        "content_type": answer.content_type.to_str().unwrap_or_default(),
        "retry_after": answer.retry_after.map_or_else(|| "off".to_owned(), |seconds| time(Duration::from_secs(seconds))),
        "body": mark(crate::cause::sized(answer.body.len() as u64), &answer.body[..]),
    })
}

fn errors(errors: &Errors) -> Value {
    let detail = match errors.detail {
        Detail::Auto => "auto",
        Detail::Full => "full",
        Detail::Public => "public",
    };
    json!({
        "detail": detail,
        "full_for": networks(&errors.full_for),
        "diagnosis": errors.diagnosis,
        "proxy_status": if errors.proxy_status_on_all { "all" } else { "errors" },
        "page": errors.page.as_ref().map(|page| mark("a page of your own", &spelt(&page.0))).unwrap_or_default(),
    })
}

fn networks(Networks(networks): &Networks) -> Vec<String> {
    networks.iter().map(text).collect()
}

/// `https://user:secret@host/` less what stands before the @.
fn without_userinfo(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, host)) => mark(format_args!("{scheme}://{MASK}@{host}{}", &rest[end..]), user),
        None => address.to_owned(),
    }
}

fn count_or(count: Option<NonZeroUsize>, without: &str) -> Value {
    count.map_or_else(|| without.into(), |count| Value::from(count.get()))
}

fn off_or_time(duration: Option<Duration>) -> String {
    duration.filter(|duration| !duration.is_zero()).map_or_else(|| "off".to_owned(), time)
}

fn time(duration: Duration) -> String {
    duration_text(duration)
}

fn size(bytes: usize) -> String {
    size_text(bytes as u64)
}

fn text(value: &impl Display) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile;

    fn of(toml: &str) -> Value {
        document(&Config::from_toml(toml).unwrap_or_else(|problems| panic!("{problems:#?}")))
    }

    /// A key that comes later must be shown, too: here it is missed.
    #[test]
    fn every_key_there_is_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = |ending: &str| folder.path().join(format!("site.{ending}"));
        let site = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(file("pem"), site.cert.pem()).unwrap();
        std::fs::write(file("key"), site.signing_key.serialize_pem()).unwrap();
        let (cert, key) = (file("pem").display().to_string(), file("key").display().to_string());
        let tls = format!("\ntls.certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]");
        let all = of(
            &("[pool.NAME]\nupstreams = [{ address = \"127.0.0.1:1\", name = \"b\", in_flight = 3 }]\nhealth.path = \"/h\"\n\
                      [route.NAME]\n[route.r]\npath = \"/r\"\nredirect = \"https://x\"\n\
                      [route.s]\npath = \"/s\"\nrespond = { status = 503, body = \"x\", retry_after = \"10s\" }\n[listener.NAME]\naddress = \":1\"".to_owned() + &tls),
        );
        // Short for others.
        let other = ["listen", "redirect", "respond"];
        for known in
            compile::known().iter().filter(|known| !other.contains(&known.key) && known.kind != "route.NAME.respond")
        {
            let mut here = &all;
            for part in known.kind.split('.').filter(|part| !part.is_empty()) {
                here = if here.is_array() { &here[0] } else { here };
                here = here.get(part).unwrap_or_else(|| panic!("/api/config has no [{}]", known.kind));
            }
            here = if here.is_array() { &here[0] } else { here };
            assert!(here.get(known.key).is_some(), "/api/config has no {} in [{}]: {all:#}", known.key, known.kind);
        }
        assert_eq!(all["listener"]["NAME"]["tls"]["certificates"][0], json!({ "cert": cert, "key": key }));
        assert_eq!(all["route"]["r"]["redirect"], "https://x");
        assert_eq!(all["route"]["s"]["respond"]["retry_after"], "10s");
    }

    #[test]
    fn no_secret_is_shown() {
        let all = of("[pool.app]\nupstreams = [\"127.0.0.1:1\"]\n[pool.app.health]\npath = \"/h?key=s3cret\"\n\
                      headers = { Authorization = \"Bearer s3cret\", X-Key = \"s3cret\" }\n\
                      [route.r]\nredirect = \"https://joe:s3cret@example.com/{{path}}\"\n");
        let text = all.to_string();
        assert!(!text.contains("s3cret"), "{all:#}");
        assert_eq!(all["pool"]["app"]["health"]["headers"]["authorization"], MASK);
        assert_eq!(all["pool"]["app"]["health"]["path"], "/h?***");
    }

    #[test]
    fn what_stands_before_an_at_sign_is_masked() {
        for (address, shown) in [
            ("https://joe:pw@example.com/a@b", "https://***@example.com/a@b"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("https://example.com?x@y", "https://example.com?x@y"),
            ("app:3000", "app:3000"),
        ] {
            assert_eq!(unmarked(&without_userinfo(address)), shown);
        }
    }
}
