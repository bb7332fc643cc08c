//! Where a request would go, and what the upstream would see of it: by the same table of routes as traffic. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderName, Method, Uri};

use crate::config::address::{Dial, Scheme};
use crate::config::model::{
    Action, Balance, Entry, FieldRules, FieldValue, Forward, HostHeader, HostPattern, Layers, Networks, Part, Piece,
    Placeholder, Pool, Route,
};
use crate::config::problem::count;
use crate::config::{Config, Endpoint};
use crate::route::{Miss, Table, normal, replace_prefix};

/// Where a request goes, and what the upstream sees of it; as an error where causeway would refuse it.
pub(super) fn journey(config: &Config, method: &Method, url: &Uri) -> Result<String, String> {
    let host = url.authority().map(http::uri::Authority::as_str);
    let target = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut out = format!("{method} {}{target}\n", host.unwrap_or(""));
    let secure = url.scheme_str() == Some("https");
    if secure && config.listeners.iter().all(|listener| listener.tls.is_none()) {
        return Err(out + "  no listener speaks TLS: write http://, or give one [listener.NAME.tls]");
    }
    if url.scheme_str() == Some("http") && config.listeners.iter().all(|listener| listener.tls.is_some()) {
        return Err(out + "  every listener speaks TLS: write https://, or add one without [listener.NAME.tls]");
    }
    let Some(path) = normal(url.path()) else {
        return Err(out + "  400: its path climbs above the root");
    };
    let table = Table::compile(config.routes.iter().cloned().map(Arc::new));
    let route = match table.find(host, &path, method) {
        Ok(route) => route,
        Err(Miss::NoRoute) => {
            let near = table.nearest(host.unwrap_or(""));
            let near = if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) };
            return Err(out + "  404: no route takes this host and path" + &near);
        }
        Err(Miss::Method(allowed)) => {
            let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
            return Err(out + &format!("  405: a route takes this host and path, with {} only", allowed.join(", ")));
        }
    };
    for listener in config.listeners.iter().filter(|listener| listener.redirect_https && !secure) {
        let _ = writeln!(out, "  listener  {}: 308 to https://, and no further", listener.name);
    }
    for listener in config.listeners.iter().filter(|listener| listener.tls.is_some() && secure) {
        let spoken = match (listener.protocols.h1, listener.protocols.h2) {
            (true, true) => "HTTP/2 or HTTP/1.1",
            (false, _) => "HTTP/2 alone",
            (_, false) => "HTTP/1.1 alone",
        };
        let _ = writeln!(out, "  listener  {}: TLS, and in it {spoken}", listener.name);
    }
    let _ = writeln!(out, "  route     {}", described(route));
    for other in passed_over(config, route, host, &path, method) {
        let _ = writeln!(out, "  not       {}: a route with a more exact host comes first", described(other));
    }
    for line in route.layers.iter().flat_map(|layers| asked_for(layers)) {
        let _ = writeln!(out, "  {line}");
    }
    match &route.action {
        Action::Forward(forward) => forwarded(config, route, forward, method, (host, secure), target)
            .map(|more| out.clone() + &more)
            .map_err(|why| out + &why),
        Action::Redirect(redirect) => {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Host => host.map_or("HOST", without_port).to_owned(),
                Piece::Path => target.to_owned(),
            };
            Ok(out + &format!("  redirect  308 to {}", redirect.0.iter().map(piece).collect::<String>()))
        }
        Action::Respond(respond) => {
            let bytes = count(respond.body.len(), "byte");
            let kind = respond.content_type.to_str().unwrap_or("");
            Ok(out + &format!("  respond   {}, {bytes} of {kind}", respond.status))
        }
    }
}

/// Routes with a longer path that take this request too, and come behind: a host beats none, whatever the path.
fn passed_over<'a>(
    config: &'a Config,
    route: &'a Route,
    host: Option<&'a str>,
    path: &'a str,
    method: &'a Method,
) -> impl Iterator<Item = &'a Route> {
    config.routes.iter().filter(move |other| {
        let alone = || Table::compile([Arc::new((*other).clone())]);
        other.name != route.name && other.path.len() > route.path.len() && alone().find(host, path, method).is_ok()
    })
}

/// `api: hosts shop.example, path /api`.
fn described(route: &Route) -> String {
    let hosts: Vec<String> = route.hosts.iter().map(shown).collect();
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let mut parts = vec![format!("path {}", route.path)];
    if !hosts.is_empty() {
        parts.insert(0, format!("host {}", hosts.join(" or ")));
    }
    if !methods.is_empty() {
        parts.push(methods.join(" or "));
    }
    format!("{} ({})", route.name, parts.join(", "))
}

fn shown(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn forwarded(
    config: &Config,
    route: &Route,
    forward: &Forward,
    method: &Method,
    (host, secure): (Option<&str>, bool),
    target: &str,
) -> Result<String, String> {
    let Some(pool) = config.pools.get(forward.pool) else { return Ok(String::new()) };
    let upstreams: Vec<_> = pool.upstreams.iter().map(member).collect();
    let mut out = format!("  pool      {}: {}\n", pool.name, upstreams.join(", "));
    let sticky = pool.sticky.as_ref().map(|cookie| format!("the cookie {cookie}, else "));
    if sticky.is_some() || pool.balance != Balance::P2c {
        let _ = writeln!(out, "  chosen by {}{}", sticky.unwrap_or_default(), pool.balance);
    }
    let sees = match &forward.replace_prefix {
        None => Some(target.to_owned()),
        Some(prefix) => replace_prefix(target, &route.path, prefix),
    };
    let Some(sees) = sees else {
        return Err(
            out + "  400: its path has the route's path only in another spelling, so that it cannot be replaced"
        );
    };
    let _ = writeln!(out, "  the upstream sees\n    {method} {sees} {}", spoken(pool));
    let rules = route.layers.as_deref().map(|layers| &layers.request_headers);
    for (name, value) in fields(config, pool, route, forward, (host, secure)) {
        let replaced = name.parse().is_ok_and(|name| rules.is_some_and(|rules| rules.replaces(&name)));
        if !replaced {
            let _ = writeln!(out, "    {name}: {value}");
        }
    }
    for (name, value) in rules.iter().flat_map(|rules| rules.set.iter().chain(&rules.add)) {
        let _ = writeln!(out, "    {name}: {}", written(value));
    }
    out.pop();
    Ok(out)
}

/// What is spoken to the upstreams of the pool. What they take in TLS is theirs to say (ALPN).
fn spoken(pool: &Pool) -> &'static str {
    let all = |scheme| !pool.upstreams.is_empty() && pool.upstreams.iter().all(|entry| entry.address.scheme == scheme);
    if all(Scheme::H2c) {
        "HTTP/2"
    } else if pool.upstreams.iter().any(|entry| entry.address.scheme == Scheme::Https && !entry.proxy_protocol) {
        "HTTP/1.1 (HTTP/2 where https:// takes it)"
    } else if pool.upstreams.iter().any(|entry| entry.address.scheme == Scheme::H2c) {
        "HTTP/1.1 (HTTP/2 to h2c://)"
    } else {
        "HTTP/1.1"
    }
}

/// What the route asks for besides, in the order in which it is done.
fn asked_for(layers: &Layers) -> Vec<String> {
    let list = |networks: &Networks| networks.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let names = |rules: &FieldRules| {
        let said = [("set", &rules.set), ("add", &rules.add)];
        let of = |(verb, fields): (&str, &Vec<(HeaderName, FieldValue)>)| {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
        };
        let gone: Vec<_> = rules.remove.iter().map(HeaderName::as_str).collect();
        let gone = (!gone.is_empty()).then(|| format!("remove {}", gone.join(", ")));
        said.into_iter().filter_map(of).chain(gone).collect::<Vec<_>>().join("; ")
    };
    let all = [
        ("deny", list(&layers.deny), "else 403"),
        ("allow", list(&layers.allow), "else 403"),
        ("limit", layers.rate_limit.map(|rate| rate.to_string()).unwrap_or_default(), "for each client, else 429"),
        (
            "password",
            layers.basic_auth.as_ref().map(|users| users.file.display().to_string()).unwrap_or_default(),
            "else 401",
        ),
        ("request", names(&layers.request_headers), ""),
        ("response", names(&layers.response_headers), ""),
        (
            "compress",
            if layers.compress { "gzip, br, zstd".to_owned() } else { String::new() },
            "as the client takes it",
        ),
    ];
    let said = all.into_iter().filter(|(_, what, _)| !what.is_empty());
    said.map(|(key, what, more)| match (key, more) {
        ("deny", _) => format!("{key:<9} {what}: these get 403"),
        (_, "") => format!("{key:<9} {what}"),
        _ => format!("{key:<9} {what}: {more}"),
    })
    .collect()
}

/// A value as the file has it.
fn written(value: &FieldValue) -> String {
    let parts = match value {
        FieldValue::Fixed(value) => return value.to_str().unwrap_or_default().to_owned(),
        FieldValue::Filled(parts) => parts,
    };
    let word = |value: &Placeholder| Placeholder::ALL.iter().find(|(_, own)| own == value).map_or("", |(word, _)| word);
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Value(value) => format!("{{{{{}}}}}", word(value)),
    };
    parts.iter().map(part).collect()
}

/// `two`, `api:4000 (weight 3)`, `spare (backup)`.
fn member(entry: &Entry) -> String {
    let weight = (entry.weight != 1).then(|| format!("weight {}", entry.weight));
    let said: Vec<String> = weight.into_iter().chain(entry.backup.then(|| "backup".to_owned())).collect();
    if said.is_empty() { entry.id().to_string() } else { format!("{} ({})", entry.id(), said.join(", ")) }
}

/// The fields that causeway sets (CONTRACT §8) for a client outside `trusted_proxies`, as `proxy::headers` does.
fn fields(
    config: &Config,
    pool: &Pool,
    route: &Route,
    forward: &Forward,
    (host, secure): (Option<&str>, bool),
) -> Vec<(&'static str, String)> {
    let said = host.unwrap_or("(the client's Host)");
    let port =
        host.map_or("(the port in it, else 80)", |host| host[without_port(host).len()..].trim_start_matches(':'));
    let (scheme, unsaid) = if secure { ("https", "443") } else { ("http", "80") };
    let port = if port.is_empty() { unsaid } else { port };
    let host_field = match &pool.host_header {
        HostHeader::Client => said.to_owned(),
        HostHeader::Upstream => pool.upstreams.first().map(own_host).unwrap_or_default(),
        HostHeader::Literal(value) => value.to_str().unwrap_or("").to_owned(),
    };
    let client = "(the client's address)".to_owned();
    let mut fields = vec![
        ("Host", host_field),
        ("X-Forwarded-For", client.clone()),
        ("X-Forwarded-Proto", scheme.to_owned()),
        ("X-Forwarded-Host", said.to_owned()),
        ("X-Forwarded-Port", port.to_owned()),
        ("X-Real-IP", client),
        ("X-Request-Id", "(32 hex digits)".to_owned()),
        ("Via", format!("1.1 {}-(six hex digits)", config.name)),
    ];
    if forward.replace_prefix.is_some() {
        fields.push(("X-Forwarded-Prefix", route.path.clone()));
    }
    fields
}

/// An upstream's own address, as it stands in Host.
fn own_host(entry: &Entry) -> String {
    let named = || Endpoint::new(entry.address.to_string().into(), Dial::Unresolved(None));
    Endpoint::literal(&entry.address).unwrap_or_else(named).host().to_owned()
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{http_url, summary};
    use super::*;
    use crate::config::Loaded;

    const TWO: &str = r#"
[route.shop]
hosts = ["shop.example"]
methods = ["GET"]
pool = "web"
[route.api]
hosts = ["shop.example"]
path = "/api"
pool = "api"
replace_prefix = "/v2"
[route.old]
hosts = ["*.old.example"]
redirect = "https://{{host}}{{path}}"
[route.down]
hosts = ["down.example"]
respond = { status = 503, body = "x" }
[pool.web]
upstreams = ["3000"]
[pool.api]
upstreams = ["api:4000", { address = "api:4001", name = "two" }]
host_header = "upstream"
"#;

    fn told(method: &str, url: &str) -> String {
        let config = Config::from_toml(TWO).unwrap();
        journey(&config, &method.parse().unwrap(), &http_url(url).unwrap()).unwrap_or_else(|refused| refused)
    }

    #[test]
    fn a_request_is_followed_to_what_the_upstream_sees() {
        let wanted = "\
POST shop.example:8080/api/x?y=1
  route     api (host shop.example, path /api)
  pool      api: api:4000, two
  the upstream sees
    POST /v2/x?y=1 HTTP/1.1
    Host: api:4000
    X-Forwarded-For: (the client's address)
    X-Forwarded-Proto: http
    X-Forwarded-Host: shop.example:8080
    X-Forwarded-Port: 8080
    X-Real-IP: (the client's address)
    X-Request-Id: (32 hex digits)
    Via: 1.1 causeway-(six hex digits)
    X-Forwarded-Prefix: /api";
        assert_eq!(told("POST", "http://shop.example:8080/api/x?y=1"), wanted);
    }

    #[test]
    fn what_a_route_asks_for_is_told_in_its_order() {
        let text = r#"
[listener.web]
redirect_https = true
address = ":8081"
[route.api]
compress = true
rate_limit = "100/s"
allow = ["10.0.0.0/8"]
deny = ["10.1.0.0/16"]
request_headers = { set = { X-From = "{{client_ip}}", X-Real-IP = "x" }, remove = ["Cookie"] }
response_headers = { add = { X-By = "causeway" } }
[pool.web]
upstreams = ["3000"]
"#;
        let config = Config::from_toml(text).unwrap();
        let said = journey(&config, &Method::GET, &http_url("/x").unwrap()).unwrap();
        let wanted = "\
GET /x
  listener  web: 308 to https://, and no further
  route     api (path /)
  deny      10.1.0.0/16: these get 403
  allow     10.0.0.0/8: else 403
  limit     100/s: for each client, else 429
  request   set x-from, x-real-ip; remove cookie
  response  add x-by
  compress  gzip, br, zstd: as the client takes it
  pool      web: localhost:3000
";
        assert!(said.starts_with(wanted), "{said}");
        assert!(said.contains("\n    x-from: {{client_ip}}\n    x-real-ip: x"), "{said}");
        assert!(!said.contains("X-Real-IP"), "{said}");
    }

    #[test]
    fn every_other_end_is_told() {
        assert!(told("GET", "http://shop.example/").contains("pool      web: localhost:3000\n"));
        assert!(told("GET", "/").contains("404: no route takes this host and path; there is "));
        assert!(told("POST", "http://shop.example/").ends_with("with GET only"));
        assert!(told("GET", "http://shop.example/../x").ends_with("400: its path climbs above the root"));
        assert!(told("GET", "http://shop.example/%61pi/x").contains("cannot be replaced"));
        assert!(told("GET", "http://a.old.example:8080/x?y").ends_with("308 to https://a.old.example/x?y"));
        assert!(told("GET", "http://down.example/").ends_with("503, 1 byte of text/plain; charset=utf-8"));
    }

    #[test]
    fn how_one_is_chosen_is_told_where_it_is_not_the_default() {
        let text = r#"
[pool.app]
upstreams = [{ address = "a:1", weight = 3 }, "b:1", { address = "c:1", name = "spare", weight = 2, backup = true }]
balance = "hash:header:X-User"
sticky = "node"
"#;
        let told =
            |text: &str| journey(&Config::from_toml(text).unwrap(), &Method::GET, &"/".parse().unwrap()).unwrap();
        let said = told(text);
        assert!(said.contains("\n  pool      app: a:1 (weight 3), b:1, spare (weight 2, backup)\n"), "{said}");
        assert!(said.contains("\n  chosen by the cookie node, else hash:header:x-user\n"), "{said}");
        let said = told(&text.replace("sticky", "# sticky"));
        assert!(said.contains("\n  chosen by hash:header:x-user\n"), "{said}");
        let config = Config::from_toml(text).unwrap();
        let summary = summary(&Loaded { config, warnings: vec![] });
        assert!(summary.ends_with("1 pool, 3 upstreams (1 of them for backup)."), "{summary}");
    }

    #[test]
    fn a_longer_path_without_the_host_is_named_with_the_reason() {
        let text =
            "[route.api]\npath = \"/api\"\nrespond = {}\n[route.shop]\nhosts = [\"shop.example\"]\nrespond = {}\n";
        let config = Config::from_toml(text).unwrap();
        let said = |url: &str| journey(&config, &Method::GET, &url.parse().unwrap()).unwrap_or_else(|refused| refused);
        let wanted = "  route     shop (host shop.example, path /)\n\
                      \x20 not       api (path /api): a route with a more exact host comes first\n";
        assert!(said("http://shop.example/api/x").contains(wanted), "{}", said("http://shop.example/api/x"));
        assert!(!said("http://shop.example/x").contains("  not "));
        assert!(!said("http://other.example/api/x").contains("  not "));
        assert!(
            said("http://other.example/x")
                .ends_with("404: no route takes this host and path; there is /api, shop.example /")
        );
    }

    /// By the scheme of the request, who may take it, and in what.
    #[test]
    fn listeners_that_speak_tls_are_told_where_they_matter() {
        let folder = tempfile::tempdir().unwrap();
        let signed = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let cert = file("a.pem", signed.cert.pem());
        let key = file("a.key", signed.signing_key.serialize_pem());
        let tls = format!(
            "[listener.web]\naddress = \":8443\"\nprotocols = [\"h2\"]\ntls.certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n[pool.app]\nupstreams = [\"a:1\"]\n"
        );
        let told =
            |text: &str, url: &str| journey(&Config::from_toml(text).unwrap(), &Method::GET, &url.parse().unwrap());
        let said = told(&tls, "https://a.example/").unwrap();
        assert!(said.contains("\n  listener  web: TLS, and in it HTTP/2 alone\n"), "{said}");
        assert!(said.contains("\n    X-Forwarded-Port: 443\n"), "{said}");
        let said = told(&tls, "http://a.example/").unwrap_err();
        assert!(said.contains("every listener speaks TLS: write https://"), "{said}");
        let both = format!("[listener.plain]\naddress = \":8081\"\nredirect_https = true\n{tls}");
        assert!(told(&both, "http://a.example/").unwrap().contains("  listener  plain: 308 to https://"));
        assert!(!told(&both, "https://a.example/").unwrap().contains("308"));
        assert!(!told(&tls, "/").unwrap().contains("listener"));
    }

    #[test]
    fn a_refusal_is_no_success() {
        let config = Config::from_toml(TWO).unwrap();
        let follow = |method: &str, url: &str| journey(&config, &method.parse().unwrap(), &url.parse().unwrap());
        assert!(follow("GET", "http://shop.example/").is_ok() && follow("GET", "http://down.example/").is_ok());
        for (method, url) in [("GET", "/"), ("POST", "http://shop.example/"), ("GET", "http://shop.example/../x")] {
            assert!(follow(method, url).is_err(), "{method} {url}");
        }
    }

    #[test]
    fn a_url_says_what_it_lacks() {
        assert_eq!(http_url("reports.shop.example/x").unwrap_err(), "write http://reports.shop.example/x");
        assert_eq!(http_url("localhost:8080").unwrap_err(), "write http://localhost:8080");
        let config = Config::from_toml(TWO).unwrap();
        let told = journey(&config, &Method::GET, &http_url("https://shop.example/").unwrap()).unwrap_err();
        assert!(told.ends_with("no listener speaks TLS: write http://, or give one [listener.NAME.tls]"), "{told}");
        assert!(http_url("http://shop.example").is_ok() && http_url("/x?y").is_ok());
    }

    /// Of another scheme than HTTP/1.1 without TLS, on both sides.
    #[test]
    fn what_is_spoken_is_told() {
        let seen = |upstreams: &str| {
            let text = format!("[pool.app]\nupstreams = [{upstreams}]\nhost_header = \"upstream\"\n");
            let config = Config::from_toml(&text).unwrap();
            let said = journey(&config, &Method::GET, &"/x".parse().unwrap()).unwrap();
            let lines: Vec<_> = said.lines().skip_while(|line| !line.contains("sees")).skip(1).take(2).collect();
            lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ")
        };
        for (upstreams, wanted) in [
            ("\"a:1\"", "GET /x HTTP/1.1; Host: a:1"),
            ("\"h2c://a:1\"", "GET /x HTTP/2; Host: a:1"),
            ("\"https://a\"", "GET /x HTTP/1.1 (HTTP/2 where https:// takes it); Host: a"),
            ("\"unix:/run/a.sock\"", "GET /x HTTP/1.1; Host: localhost"),
            ("\"[::1]:1\", \"h2c://a:2\"", "GET /x HTTP/1.1 (HTTP/2 to h2c://); Host: [::1]:1"),
        ] {
            assert_eq!(seen(upstreams), wanted);
        }
    }
}
