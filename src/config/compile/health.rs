//! `[pool.NAME.health]`.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::super::context::all_of;
use super::super::model::{Check, GrpcCheck, Health, HttpCheck};
use super::super::problem::Wrong;
use super::super::read::Section;
use super::super::units::duration_text;
use super::words;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Auto,
    Http,
    Tcp,
    Grpc,
    Off,
}

/// What the table says; `None`: no checks.
pub(super) fn health(section: &Section<'_>) -> Option<Health> {
    let words =
        [("auto", Type::Auto), ("http", Type::Http), ("tcp", Type::Tcp), ("grpc", Type::Grpc), ("off", Type::Off)];
    let said = section.choice("type", &words[..]);
    // Without it, nobody knows what the others should be.
    let unclear = said.is_none() && section.has("type");
    let kind = said.unwrap_or(Type::Auto);
    let grpc = kind == Type::Grpc;
    let path = section.parse("path", "/healthz", |text| match text {
        text if unclear || text.is_empty() => Ok(None),
        service if grpc => words::grpc_service(service).map(Some),
        path => words::check_path(path).map(Some),
    });
    let path_is_wrong = path.is_none() && section.node("path").is_some();
    let path = path.flatten();
    let http = HttpCheck {
        path: path.clone().unwrap_or_else(|| "/".into()),
        method: section.parse("method", "GET", words::method).unwrap_or(Method::GET),
        host_header: section
            .parse("host_header", "app.example", |text| {
                if text.is_empty() { Ok(None) } else { words::host_value(text).map(Some) }
            })
            .flatten(),
        headers: headers(section, grpc),
        expect_status: section.parse("expect_status", "200-399", words::statuses).unwrap_or_else(|| vec![(200, 399)]),
        expect_body: section.parse("expect_body", "ok", expected_body).unwrap_or_default(),
    };
    let port = section.number_or("port", 1..=65_535, &[("same", None)], |port| u16::try_from(port).ok()).flatten();
    let interval = section.time("interval", Duration::from_secs(5));
    let timeout = section.time("timeout", Duration::from_secs(2));
    let healthy_after = section.number("healthy_after", 2, 1..=1000);
    let unhealthy_after = section.number("unhealthy_after", 3, 1..=1000);
    let is_http = kind == Type::Http || (kind == Type::Auto && path.is_some());
    if grpc {
        http_words_in_grpc(section, &http);
    } else if !is_http && kind != Type::Off && !path_is_wrong && !unclear {
        http_words_without_http(section, kind, path.is_some(), &http);
    }
    if kind == Type::Off {
        words_without_checks(section);
    } else if is_http && !path_is_wrong {
        never_passes(section, &http);
    }
    if interval < timeout && kind != Type::Off {
        let place = section.value_place("interval").or(section.value_place("timeout")).unwrap_or(&section.place);
        let (interval, timeout) = (duration_text(interval), duration_text(timeout));
        let message = format!("health.interval ({interval}) is shorter than health.timeout ({timeout})");
        section.cx.warn(place, message, "a silent upstream is checked less often than interval says; lower timeout");
    }
    (kind != Type::Off).then(|| Health {
        check: match kind {
            _ if is_http => Check::Http(http),
            Type::Grpc => {
                let service = path.unwrap_or_default();
                Check::Grpc(GrpcCheck { service, host_header: http.host_header, headers: http.headers })
            }
            Type::Auto | Type::Http | Type::Tcp | Type::Off => Check::Tcp,
        },
        port,
        interval,
        timeout,
        healthy_after,
        unhealthy_after,
    })
}

/// With checks off, nothing else in the table means anything.
fn words_without_checks(section: &Section<'_>) {
    const KEYS: [&str; 11] = [
        "path",
        "method",
        "host_header",
        "headers",
        "port",
        "interval",
        "timeout",
        "healthy_after",
        "unhealthy_after",
        "expect_status",
        "expect_body",
    ];
    let said: Vec<&str> = KEYS.into_iter().filter(|key| section.has(key)).collect();
    let Some(place) = said.first().and_then(|key| section.place_of(key)) else { return };
    let keys: Vec<String> = said.iter().map(|key| format!("`{key}`")).collect();
    let (keys, verb) = (all_of(&keys), if keys.len() == 1 { "does" } else { "do" });
    section.cx.warn(place, format!("{keys} {verb} nothing: type = \"off\""), "take type out to check, or the others");
}

/// Checks that no answer can pass.
fn never_passes(section: &Section<'_>, http: &HttpCheck) {
    let bodiless = |range: &(u16, u16)| matches!(*range, (204 | 304, to) if to == range.0);
    if http.expect_status.iter().all(|(_, to)| *to < 200) {
        let place = section.value_place("expect_status").unwrap_or(&section.place);
        let message = "no answer passes this check: a status below 200 only announces one";
        section.cx.warn(place, message, "write the status of the answer, like \"200\"");
    } else if !http.expect_body.is_empty() {
        let place = section.value_place("expect_body").unwrap_or(&section.place);
        if http.method == Method::HEAD {
            let message = "no answer passes this check: there is no body after HEAD";
            section.cx.warn(place, message, "write method = \"GET\", or take expect_body out");
        } else if http.expect_status.iter().all(bodiless) {
            let message = "no answer passes this check: one with that status has no body";
            section.cx.warn(place, message, "write another expect_status, or take expect_body out");
        }
    }
}

/// Nothing is accepted and ignored: a TCP check takes none of these.
fn http_words_without_http(section: &Section<'_>, kind: Type, has_path: bool, http: &HttpCheck) {
    let said = [
        ("path", has_path),
        ("method", http.method != Method::GET),
        ("host_header", http.host_header.is_some()),
        ("headers", !http.headers.is_empty()),
        ("expect_status", http.expect_status != [(200, 399)]),
        ("expect_body", !http.expect_body.is_empty()),
    ];
    for (key, _) in said.iter().filter(|(_, said)| *said) {
        let place = section.place_of(key).unwrap_or(&section.place);
        let hint = if kind == Type::Tcp {
            "write type = \"http\", or take it out"
        } else {
            "add path = \"/healthz\", or take it out"
        };
        section.cx.error(place, format!("`{key}` has no meaning for a TCP check"), hint);
    }
}

/// Nor does a gRPC check take those that say what is asked and wanted: that is gRPC's.
fn http_words_in_grpc(section: &Section<'_>, http: &HttpCheck) {
    let said = [
        ("method", http.method != Method::GET, "it always calls grpc.health.v1.Health/Check"),
        ("expect_status", http.expect_status != [(200, 399)], "it wants the answer SERVING"),
        ("expect_body", !http.expect_body.is_empty(), "it wants the answer SERVING"),
    ];
    for (key, _, why) in said.iter().filter(|(_, said, _)| *said) {
        let place = section.place_of(key).unwrap_or(&section.place);
        section.cx.error(place, format!("`{key}` has no meaning for a gRPC check: {why}"), "take it out");
    }
}

fn headers(section: &Section<'_>, grpc: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, key_place, value, value_place) in section.free("headers") {
        let name = section.cx.take(key_place, words::check_field(key));
        if grpc && key.eq_ignore_ascii_case("content-type") {
            section.cx.error(key_place, "a gRPC check has a Content-Type of its own", "take it out");
        }
        let value = section.cx.take(value_place, words::field_value(value));
        if let (Some(name), Some(value)) = (name, value)
            && headers.insert(name, value).is_some()
        {
            section.cx.error(key_place, format!("the field {key} stands here twice"), "case makes no difference");
        }
    }
    headers
}

fn expected_body(text: &str) -> Result<String, Wrong> {
    if text.len() > 64 << 10 {
        return Err(Wrong::new("this is longer than what a check reads", "a check reads at most 64 KiB of a body"));
    }
    Ok(text.into())
}
