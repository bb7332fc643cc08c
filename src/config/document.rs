//! A configuration as a document, with every default, in the words of the file. Secrets are masked.
//!
//! It shows what holds, not what was written: networks instead of "private", and each route with its pool's clocks in it. It is
//! what `/api/config` shows, and what [`changes`](super::changes) are looked for in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

use super::address::Host;
use super::certificate::{Authorities, Pair};
use super::model::{
    AccessFormat, Action, Check, Config, Detail, Entry, Errors, FieldRules, FieldValue, Health, HostHeader,
    HostPattern, Layers, Level, Listener, ListenerTls, Log, LogTarget, Networks, Notify, Part, Piece, Pool, PoolTls,
    Redirect, Respond, Retry, Route, Statuses, Timeouts, Webhook,
};
use super::units::{duration_text, size_text};

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

/// What is shown, with a mark of what is not: the content of a file, a secret. It differs where that does, and nobody can tell from
/// it what it is of.
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

fn pool(pool: &Pool) -> Value {
    let host_header = host_header(&pool.host_header);
    let (passive, limits, buffers, kept) = (&pool.passive, &pool.limits, &pool.buffers, &pool.connections);
    let failures =
        |count: Option<std::num::NonZeroU32>| count.map_or_else(|| "off".into(), |count| Value::from(count.get()));
    json!({
        "upstreams": pool.upstreams.iter().filter(|entry| !matches!(entry.address.host, Host::Listed(_))).map(entry).collect::<Vec<_>>(),
        "upstreams_file": pool.upstreams_file().map(|file| file.display().to_string()).unwrap_or_default(),
        "balance": pool.balance.to_string(),
        "sticky": pool.sticky.as_deref().unwrap_or_default(),
        "host_header": host_header,
        "slow_start": off_or_time(Some(pool.slow_start)),
        "when_all_evicted": if pool.last_resort { "try" } else { "fail" },
        "wait": off_or_time(Some(pool.wait)),
        "health": pool.health.as_ref().map_or_else(|| json!({ "type": "off" }), health),
        "passive": {
            "connect_failures": failures(passive.connect_failures),
            "gateway_failures": failures(passive.gateway_failures),
            "evict": time(passive.evict),
            "evict_max": time(passive.evict_max),
            "max_evicted": format!("{}%", passive.max_evicted),
        },
        "timeouts": timeouts(&pool.timeouts),
        "retry": retry(&pool.retry),
        "buffers": {
            "request": size(buffers.request),
            "response_head": size(buffers.response_head),
            "response": size(buffers.response),
        },
        "connections": { "idle": time(kept.idle), "max_idle": kept.max_idle, "max_age": time(kept.max_age) },
        "tls": pool_tls(pool.tls.as_deref()),
        "limits": {
            "in_flight": count_or(limits.in_flight, "off"),
            "queue": limits.queue,
            "queue_timeout": time(limits.queue_timeout),
        },
    })
}

/// Where secrets lie may be read.
fn pool_tls(tls: Option<&PoolTls>) -> Value {
    let file = |file: fn(&PoolTls) -> &Option<PathBuf>| {
        tls.and_then(|tls| file(tls).as_ref()).map(|file| file.display().to_string()).unwrap_or_default()
    };
    let server_name = tls.and_then(|tls| tls.server_name.as_ref()).map(|name| name.to_str().into_owned());
    json!({
        "ca": file(|tls| &tls.ca),
        "server_name": server_name.unwrap_or_default(),
        "cert": file(|tls| &tls.cert),
        "key": file(|tls| &tls.key),
        "verify": tls.is_none_or(|tls| tls.verify),
    })
}

fn entry(entry: &Entry) -> Value {
    let in_flight = entry.in_flight.filter(|most| *most < NonZeroUsize::MAX);
    let mut all = json!({
        "address": without_userinfo(&entry.address.to_string()),
        "weight": entry.weight,
        "backup": entry.backup,
        "proxy_protocol": entry.proxy_protocol,
    });
    if let Some(all) = all.as_object_mut() {
        all.extend(entry.name.iter().map(|name| ("name".to_owned(), Value::from(&**name))));
        all.extend(entry.in_flight.map(|_| ("in_flight".to_owned(), count_or(in_flight, "off"))));
    }
    all
}

fn health(health: &Health) -> Value {
    let mut all = json!({
        "type": "tcp",
        "port": health.port.map_or_else(|| "same".into(), Value::from),
        "interval": time(health.interval),
        "timeout": time(health.timeout),
        "healthy_after": health.healthy_after,
        "unhealthy_after": health.unhealthy_after,
    });
    let host = |host: Option<&http::HeaderValue>| host.map_or("", |host| host.to_str().unwrap_or(MASK)).to_owned();
    let more = match &health.check {
        Check::Tcp => Value::Null,
        Check::Http(check) => json!({
            "type": "http",
            // What follows may be a key.
            "path": check.path.split_once('?')
                .map_or_else(|| check.path.clone(), |(path, query)| mark(format_args!("{path}?{MASK}"), query)),
            "method": check.method.as_str(),
            "host_header": host(check.host_header.as_ref()),
            "headers": masked(&check.headers),
            "expect_status": ranges(&check.expect_status),
            "expect_body": check.expect_body,
        }),
        Check::Grpc(check) => json!({
            "type": "grpc",
            "path": check.service,
            "host_header": host(check.host_header.as_ref()),
            "headers": masked(&check.headers),
        }),
    };
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// What a field is called may be read, what it says may not.
fn masked(fields: &HeaderMap) -> BTreeMap<&str, String> {
    let all = |name| fields.get_all(name).iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
    fields.keys().map(|name| (name.as_str(), mark(MASK, &all(name)))).collect()
}

fn host_header(said: &HostHeader) -> String {
    match said {
        HostHeader::Client => "client".to_owned(),
        HostHeader::Upstream => "upstream".to_owned(),
        HostHeader::Literal(host) => host.to_str().unwrap_or(MASK).to_owned(),
    }
}

fn timeouts(timeouts: &Timeouts) -> Value {
    json!({
        "resolve": time(timeouts.resolve),
        "connect": time(timeouts.connect),
        "tls": time(timeouts.tls),
        "write": time(timeouts.write),
        "read": time(timeouts.read),
        "body": time(timeouts.body),
        "request": off_or_time(timeouts.request),
        "tunnel": off_or_time(timeouts.tunnel),
    })
}

fn retry(retry: &Retry) -> Value {
    let resend = match retry.resend {
        None => "all".into(),
        Some(0) => "off".into(),
        Some(count) => Value::from(count),
    };
    json!({
        "attempts": count_or(retry.attempts, "all"),
        "resend": resend,
        "idempotency_key": retry.idempotency_key,
        "on_status": statuses(&retry.on_status),
        "deadline": off_or_time(retry.deadline),
        "budget": retry.budget.map_or_else(|| "off".to_owned(), |percent| format!("{percent}%")),
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

fn statuses(set: &Statuses) -> Vec<u16> {
    (400..600).filter(|status| set.contains(*status)).collect()
}

fn ranges(ranges: &[(u16, u16)]) -> String {
    let range = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
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
