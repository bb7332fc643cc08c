//! `[route.NAME]`: what it takes, and what happens then.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::super::context::{either, nearest};
use super::super::file;
use super::super::model::{Action, Forward, Piece, Redirect, Respond, Retry, Route, Timeouts};
use super::super::problem::{Place, Problem, Severity, Wrong};
use super::super::read::Section;
use super::super::units;
use super::clocks::clocks;
use super::pool::Read;
use super::reach::{self, Said};
use super::{elsewhere, layers, unknown, words};

/// The largest file that `respond` keeps in memory.
const LARGEST_FILE: u64 = 16 << 20;

/// All routes, behind listeners at these ports; without any, `main` to the only pool.
pub(super) fn routes(root: &Section<'_>, pools: &[Read], ports: &[u16]) -> Vec<Route> {
    let errors = root.cx.problems.borrow().len();
    let named = root.named("route");
    // What could not be read may have been the route to any pool.
    let unread = root.cx.problems.borrow().len() > errors || root.misspelt("route");
    let mut routes: Vec<Said> = Vec::new();
    let mut used = vec![false; pools.len()];
    for (name, section) in named {
        let problems = root.cx.problems.borrow().len();
        let route = route(name, &section, pools);
        let sound = root.cx.problems.borrow().iter().skip(problems).all(|p| p.severity == Severity::Warning);
        if let Action::Forward(forward) = &route.action
            && let Some(used) = used.get_mut(forward.pool)
        {
            *used = true;
        }
        let redirect = section.value_place("redirect").cloned();
        routes.push(Said { route, place: section.place.clone(), redirect, sound });
    }
    reach::look(root.cx, &routes, ports);
    if routes.is_empty() && root.cx.learned.is_none() && !root.has("route") {
        return without_routes(root, pools);
    }
    let lost =
        unread || routes.iter().any(|said| matches!(&said.route.action, Action::Forward(f) if f.pool >= pools.len()));
    for (pool, _) in pools.iter().zip(used).filter(|(_, used)| !used && !lost) {
        let name = &pool.pool.name;
        let hint = format!("give a route pool = \"{name}\", or take it out");
        root.cx.warn(&pool.place, format!("no route sends anything to pool `{name}`"), hint);
    }
    routes.into_iter().map(|said| said.route).collect()
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
                layers: None,
            }]
        }
        [] => {
            if !root.has("pool") && !root.misspelt("pool") && !elsewhere::is_a_pool(root.keys()) {
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

fn route(name: Arc<str>, section: &Section<'_>, pools: &[Read]) -> Route {
    let hosts = each_once(section, "hosts", "api.example.com", words::host_pattern);
    let path = section.parse("path", "/api", words::path_prefix).unwrap_or_else(|| "/".into());
    let methods = each_once(section, "methods", "GET", words::method);
    let action = action(&name, section, pools);
    let layers = layers::layers(section, matches!(action, Action::Forward(_)));
    let max_body = section
        .text("max_body", "10MiB", "B")
        .and_then(|(text, place)| if text == "off" { None } else { section.cx.take(place, any_size(text)) });
    if let (Some(at), Some(place)) = (path.find("/:"), section.value_place("path")) {
        let message = format!("`{}` is taken to the letter: a path is no pattern", &path[at + 1..]);
        let hint = format!("write \"{}\": it takes everything below it too", if at == 0 { "/" } else { &path[..at] });
        section.cx.warn(place, message, hint);
    }
    Route { name, hosts, path, methods, action, max_body, access_log: section.flag("access_log", true), layers }
}

/// A size, where "off" is any.
fn any_size(text: &str) -> Result<u64, Wrong> {
    units::size(text)
        .map_err(|wrong| if units::means_off(text) { Wrong { hint: "write \"off\"".into(), ..wrong } } else { wrong })
}

/// The items of a list, in which nothing stands twice.
fn each_once<T: PartialEq>(
    section: &Section<'_>,
    key: &'static str,
    sample: &str,
    parser: impl Fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    let mut again = Vec::new();
    for (item, place) in section.texts_with_places(key, sample, parser) {
        if once.contains(&item) { again.push(place) } else { once.push(item) }
    }
    for place in again {
        let hint = if key == "hosts" { "take it out; case and port make no difference" } else { "take it out" };
        section.cx.warn(place, format!("this stands in `{key}` already"), hint);
    }
    once
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
        for key in ["pool", "replace_prefix", "timeouts", "retry", "request_headers"] {
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
    let theirs = ["$host", "$http_host", "$server_name", "$request_uri", "$uri", "$scheme", "$1", "%{"];
    let braces = pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(['{', '}'])));
    if braces || theirs.iter().any(|word| text.contains(word)) {
        return Err(Wrong::new(format!("\"{text}\" has a variable of another proxy"), sample));
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
    match file::read(&path, LARGEST_FILE) {
        Ok(bytes) if bytes.len() as u64 > LARGEST_FILE => {
            section.cx.error(
                place,
                format!("{} is too large", path.display()),
                "a file of `respond` is kept in memory: at most 16MiB",
            );
            Bytes::new()
        }
        Ok(bytes) => bytes.into(),
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
