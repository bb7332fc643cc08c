//! `[route.NAME]`: what it takes, and what happens then.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::super::context::{either, nearest};
use super::super::model::{Action, Forward, HostPattern, Piece, Redirect, Respond, Retry, Route, Timeouts};
use super::super::problem::{Place, Problem, Wrong};
use super::super::read::Section;
use super::super::units;
use super::clocks::clocks;
use super::pool::Read;
use super::{unknown, words};

/// The largest file that `respond` keeps in memory.
const LARGEST_FILE: u64 = 16 << 20;

/// All routes; without any, `main` to the only pool.
pub(super) fn routes(root: &Section<'_>, pools: &[Read]) -> Vec<Route> {
    let named = root.named("route");
    let mut routes: Vec<(Route, Place, bool)> = Vec::new();
    let mut used = vec![false; pools.len()];
    for (name, section) in named {
        let place = section.place.clone();
        let problems = root.cx.problems.borrow().len();
        let route = route(name, &section, pools);
        let sound = root.cx.problems.borrow().len() == problems;
        if let Action::Forward(forward) = &route.action
            && let Some(used) = used.get_mut(forward.pool)
        {
            *used = true;
        }
        // What could not be read is no reason to call two routes equal.
        let twin = routes.iter().find(|(other, _, other_sound)| sound && *other_sound && equal(other, &route));
        if let Some((other, first, _)) = twin {
            let message = format!(
                "route `{}` takes the same requests as route `{}`{}",
                route.name,
                other.name,
                unknown::line(first)
            );
            root.cx.error(&place, message, "give one of them another host, path or methods");
        }
        routes.push((route, place, sound));
    }
    if routes.is_empty() && root.cx.learned.is_none() && !root.has("route") {
        return without_routes(root, pools);
    }
    let lost = routes.iter().any(|(route, _, _)| matches!(&route.action, Action::Forward(f) if f.pool >= pools.len()));
    for (pool, _) in pools.iter().zip(used).filter(|(_, used)| !used && !lost) {
        root.cx.warn(&pool.place, format!("no route sends anything to pool `{}`", pool.pool.name), "");
    }
    routes.into_iter().map(|(route, _, _)| route).collect()
}

fn without_routes(root: &Section<'_>, pools: &[Read]) -> Vec<Route> {
    match pools {
        [one] => {
            let forward = Forward { pool: 0, replace_prefix: None, timeouts: one.pool.timeouts, retry: one.pool.retry };
            let action = Action::Forward(Box::new(forward));
            let (hosts, methods) = (Vec::new(), Vec::new());
            vec![Route {
                name: "main".into(),
                hosts,
                path: "/".into(),
                methods,
                action,
                max_body: None,
                access_log: true,
            }]
        }
        [] => {
            if !root.has("pool") {
                let message = "there is no pool, so there is nobody to send a request to";
                root.cx.error(&root.place, message, "add [pool.app] and below it upstreams = [\"127.0.0.1:3000\"]");
            }
            Vec::new()
        }
        [_, second, ..] => {
            let message = format!("there are {} pools, and no route says which requests go where", pools.len());
            let hint = format!("add [route.{0}] and below it path = \"/{0}\" and pool = \"{0}\"", second.pool.name);
            root.cx.error(&second.place, message, hint);
            Vec::new()
        }
    }
}

/// Two routes of which neither comes first for some request.
fn equal(a: &Route, b: &Route) -> bool {
    let hosts = (a.hosts.is_empty() && b.hosts.is_empty()) || a.hosts.iter().any(|host| b.hosts.contains(host));
    let methods = (a.methods.is_empty() && b.methods.is_empty()) || a.methods.iter().any(|m| b.methods.contains(m));
    hosts && methods && a.path == b.path
}

fn route(name: Arc<str>, section: &Section<'_>, pools: &[Read]) -> Route {
    let mut hosts: Vec<HostPattern> = section.texts("hosts", "api.example.com", words::host_pattern);
    let mut seen = Vec::new();
    hosts.retain(|host| {
        !seen.contains(host) && {
            seen.push(host.clone());
            true
        }
    });
    let path = section.parse("path", "/api", words::path_prefix).unwrap_or_else(|| "/".into());
    let methods = section.texts("methods", "GET", words::method);
    let action = action(&name, section, pools);
    let max_body = section
        .text("max_body", "10MiB", "B")
        .and_then(|(text, place)| if text == "off" { None } else { section.cx.take(place, units::size(text)) });
    Route { name, hosts, path, methods, action, max_body, access_log: section.flag("access_log", true) }
}

fn action(name: &str, section: &Section<'_>, pools: &[Read]) -> Action {
    let redirect = section.parse("redirect", "https://{{host}}{{path}}", redirect);
    let respond_section = section.section("respond");
    let respond = respond(&respond_section);
    let pool = pool(name, section, pools);
    let base = pools.get(pool).map_or((Timeouts::default(), Retry::default()), |r| (r.pool.timeouts, r.pool.retry));
    let (timeouts, retry) = clocks(section, base.0, base.1);
    let replace_prefix = section
        .parse(
            "replace_prefix",
            "/",
            |text| if text.is_empty() { Ok(None) } else { words::path_prefix(text).map(Some) },
        )
        .flatten();
    let others: Vec<&str> = ["redirect", "respond"].into_iter().filter(|key| section.has(key)).collect();
    if let Some(other) = others.first() {
        for key in ["pool", "replace_prefix", "timeouts", "retry"] {
            if let Some(place) = section.place_of(key) {
                let hint = format!("take out `{key}` or `{other}`");
                section.cx.error(
                    place,
                    format!("a route with `{other}` sends nothing to a pool: `{key}` has no meaning"),
                    hint,
                );
            }
        }
    }
    if let ([_, other], Some(place)) = (others.as_slice(), section.place_of("respond")) {
        section.cx.error(place, format!("route `{name}` has both `redirect` and `{other}`"), "take one of them out");
    }
    match (respond_section.present(), redirect) {
        (true, _) => Action::Respond(respond),
        (false, Some(redirect)) => Action::Redirect(redirect),
        (false, None) => Action::Forward(Box::new(Forward { pool, replace_prefix, timeouts, retry })),
    }
}

/// Index of the route's pool; one past the end when there is none.
fn pool(route: &str, section: &Section<'_>, pools: &[Read]) -> usize {
    let nowhere = pools.len();
    let names = || pools.iter().map(|read| &*read.pool.name);
    let Some((name, place)) = section.text("pool", "app", "") else {
        if section.has("pool") || section.has("redirect") || section.has("respond") || !section.present() {
            return nowhere;
        }
        if pools.len() != 1 {
            let all: Vec<String> = names().map(|name| format!("\"{name}\"")).collect();
            let (message, hint) = match pools.len() {
                0 => (
                    format!("route `{route}` has no pool to send to"),
                    "add [pool.app] and below it upstreams = [\"127.0.0.1:3000\"]".into(),
                ),
                n => (
                    format!("route `{route}` does not say which of the {n} pools it means"),
                    format!("write pool = {}", either(&all)),
                ),
            };
            section.cx.error(&section.place, message, hint);
        }
        return 0;
    };
    if let Some(found) = names().position(|known| known == name) {
        return found;
    }
    let hint = match nearest(name, names()).and_then(|near| pools.iter().find(|read| &*read.pool.name == near)) {
        Some(near) => format!("did you mean `{}`{}?", near.pool.name, unknown::line(&near.place)),
        None => match names().map(|name| format!("`{name}`")).collect::<Vec<_>>() {
            known if known.is_empty() => format!("add [pool.{name}]"),
            known => format!("there is {}", known.join(", ")),
        },
    };
    section.cx.error(place, format!("there is no pool `{name}`"), hint);
    nowhere
}

/// A target with `{{host}}` and `{{path}}`.
fn redirect(text: &str) -> Result<Redirect, Wrong> {
    let sample = "write it like \"https://{{host}}{{path}}\"";
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((word, after)) = after.split_once("}}") else {
            return Err(Wrong::new("\"{{\" without \"}}\"", sample));
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        pieces.push(match word.trim() {
            "host" => Piece::Host,
            "path" => Piece::Path,
            _ => {
                return Err(Wrong::new(
                    format!("there is no placeholder {{{{{word}}}}}"),
                    "there are {{host}} and {{path}}",
                ));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    let absolute = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len());
    let relative = (text.starts_with('/') && !text.starts_with("//")) || text.starts_with("{{path}}");
    let clean = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`|".contains(&b));
    if !(absolute || relative) || !clean {
        return Err(Wrong::new(format!("\"{text}\" is not a place to redirect to"), sample));
    }
    Ok(Redirect(pieces))
}

fn respond(section: &Section<'_>) -> Respond {
    let status = section.number("status", 200, 200..=599);
    let file = section.text("file", "maintenance.html", "");
    let body = section.text("body", "Back soon.", "");
    let content_type = section.parse("content_type", "text/html; charset=utf-8", words::content_type);
    let retry_after = section.text("retry_after", "10m", "s").and_then(|(text, place)| {
        let duration = section.cx.take(place, units::duration(text))?;
        if duration.subsec_millis() > 0 {
            section.cx.error(place, "Retry-After counts whole seconds", "write \"1s\" or more");
        }
        Some(duration.as_secs())
    });
    if let (Some(_), Some((_, place))) = (file, body) {
        section.cx.error(place, "`respond` has both a file and a body", "take one of them out");
    }
    let guessed = file.map_or("text/plain; charset=utf-8", |(name, _)| guess(name));
    let bytes = match (file, body) {
        (Some((name, place)), _) => read_file(section, name, place),
        (None, Some((body, _))) => Bytes::copy_from_slice(body.as_bytes()),
        (None, None) => Bytes::new(),
    };
    if !bytes.is_empty() && matches!(status, 204 | 205 | 304) {
        section.cx.error(
            &section.place,
            format!("a {status} has no body"),
            "take out file or body, or change the status",
        );
    }
    Respond {
        status: u16::try_from(status).unwrap_or(200),
        body: bytes,
        content_type: content_type.unwrap_or_else(|| HeaderValue::from_static(guessed)),
        retry_after,
    }
}

fn read_file(section: &Section<'_>, name: &str, place: &Place) -> Bytes {
    let path = section.cx.base.join(name);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)) {
        Ok(size) if size as u64 > LARGEST_FILE => {
            section.cx.error(
                place,
                format!("{} is too large", path.display()),
                "a file of `respond` is kept in memory: at most 16MiB",
            );
            Bytes::new()
        }
        Ok(_) => bytes.into(),
        Err(error) => {
            let problem = Wrong::new(
                format!("cannot read {}: {error}", path.display()),
                "paths start at the folder of this file",
            );
            section.cx.problems.borrow_mut().push(Problem::error(place, problem));
            Bytes::new()
        }
    }
}

/// The media type of a file by its ending.
fn guess(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        _ => "text/plain; charset=utf-8",
    }
}
