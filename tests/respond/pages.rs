//! The HTML page in every situation: bounded, readable without colour, with enough contrast in both schemes. With
//! `PAGES=DIR` in the environment the pages are written there, to be looked at.

use super::*;

/// A pool of so many: most refused, some silent, the rest evicted.
fn many(size: usize) -> Exchange {
    let mut exchange = exchange();
    exchange.pool_size = size;
    for place in 1..=size {
        match place % 4 {
            0 => exchange.not_tried.push(skipped(place, Reason::Evicted)),
            1 => exchange.attempts.push(failed(
                place,
                Failure::new(Cause::ReadTimeout).sent(true).limit("5.0 s"),
                5_000_000 + place as u64 * 900,
            )),
            _ => exchange.attempts.push(failed(place, Failure::new(Cause::ConnectionRefused), 300)),
        }
    }
    exchange
}

/// A few that say much, each something else.
fn long() -> Exchange {
    let mut exchange = exchange();
    exchange.uri = format!("/a/{}?q=1", "very-long-path-segment/".repeat(8)).parse().unwrap();
    let seen = "HTTP/1.1 200 OK\r\nServer: something-with-a-long-name/1.2.3\r\nX-Strange Field\r\n";
    let failures = [
        Failure::new(Cause::NotHttp).seen(seen).sent(true),
        Failure::new(Cause::InvalidHead).seen(seen).sent(true),
        Failure::new(Cause::ResponseHeadTooLarge).limit("64 KiB").sent(true),
        Failure::new(Cause::ConnectTimeout).limit("3.0 s"),
        Failure::new(Cause::DnsTimeout).limit("2.0 s"),
        Failure::new(Cause::StaleConnection).sent(true),
        Failure::new(Cause::ConnectReset),
        Failure::new(Cause::TruncatedBody).seen("512 of 1024 bytes").sent(true),
        Failure::new(Cause::ReadTimeout).limit("5.0 s").sent(true),
        Failure::new(Cause::ConnectionRefused),
        Failure::new(Cause::Unreachable),
    ];
    exchange.attempts = failures.into_iter().enumerate().map(|(i, f)| failed(i + 1, f, 3_000_000)).collect();
    for attempt in &mut exchange.attempts {
        let name = format!("orders-{}.service.internal.example:3000", attempt.ordinal);
        (attempt.upstream, attempt.authority) = (name.as_str().into(), name.as_str().into());
    }
    exchange.not_tried = vec![skipped(12, Reason::Evicted)];
    exchange.pool_size = 12;
    exchange
}

fn posted() -> Exchange {
    let mut exchange = golden();
    (exchange.method, exchange.idempotent) = (Method::POST, false);
    exchange.not_tried[0].reason = Reason::RequestSent;
    exchange
}

fn of(failure: Failure) -> Exchange {
    let mut exchange = own(failure);
    exchange.elapsed = Duration::from_micros(300);
    exchange
}

fn page_of(exchange: &Exchange, full: bool, nearest: &[String]) -> String {
    let telling = Telling { nearest, ..Telling::new(Form::Html, full) };
    let response = annotator().render(exchange, &verdict(exchange), telling);
    String::from_utf8(response.body().to_vec()).unwrap()
}

fn pages() -> Vec<(&'static str, String)> {
    let too_large = "12 MiB sent, 10 MiB allowed (route.upload max_body)";
    let too_large = Failure::new(Cause::ClientTooLarge).limit("10 MiB").seen(too_large);
    let nearest = ["shop.example /api".to_owned(), "shop.example /orders".to_owned()];
    let mut timed_out = golden();
    timed_out.attempts.remove(0);
    let mut busy = exchange();
    busy.not_tried = (1..=3).map(|n| skipped(n, Reason::Busy)).collect();
    busy.not_tried.iter_mut().for_each(|skip| skip.state = State::Ready);
    vec![
        ("502", page_of(&golden(), true, &[])),
        ("502-post", page_of(&posted(), true, &[])),
        ("502-long", page_of(&long(), true, &[])),
        ("502-many", page_of(&many(12), true, &[])),
        ("502-thousand", page_of(&many(1000), true, &[])),
        ("502-public", page_of(&golden(), false, &[])),
        ("502-public-thousand", page_of(&many(1000), false, &[])),
        ("504", page_of(&timed_out, true, &[])),
        ("404", page_of(&of(Failure::new(Cause::NoRoute).seen("GET shop.example/x")), true, &nearest)),
        ("404-public", page_of(&of(Failure::new(Cause::NoRoute).seen("GET shop.example/x")), false, &nearest)),
        ("413", page_of(&of(too_large), true, &[])),
        ("500", page_of(&of(Failure::new(Cause::Bug)), true, &[])),
        ("503-restarting", page_of(&of(Failure::new(Cause::ShuttingDown)), true, &[])),
        ("503-busy", page_of(&busy, true, &[])),
        ("503-busy-public", page_of(&busy, false, &[])),
    ]
}

#[test]
fn every_page_is_whole_and_bounded() {
    let pages = pages();
    if let Some(dir) = std::env::var_os("PAGES") {
        for (name, page) in &pages {
            std::fs::write(std::path::Path::new(&dir).join(format!("{name}.html")), page).unwrap();
        }
    }
    for (name, page) in &pages {
        assert!(page.len() < 24_000, "{name}: {} bytes", page.len());
        for (open, close) in [("<li ", "</li>"), ("<p", "</p>"), ("<ol ", "</ol>"), ("<pre", "</pre>"), ("<b>", "</b>")]
        {
            let opened = page.matches(open).count() - usize::from(open == "<p") * page.matches("<pre").count();
            assert_eq!(opened, page.matches(close).count(), "{name}: {open}");
        }
        for never in ["<script", "{{", " src=", "http-equiv", "<img", "<iframe", "@import", "url("] {
            assert!(!page.contains(never), "{name}: {never}");
        }
        assert_eq!(page.matches("<h1>").count(), 1, "{name}");
    }
}

#[test]
fn the_other_headings() {
    let pages = pages();
    let page = |name: &str| &pages.iter().find(|(n, _)| *n == name).unwrap().1;
    for (name, parts) in [
        ("504", &["<h1>The upstreams took too long</h1>", "Try again</a>"][..]),
        ("404", &["<h1>Nothing is routed here</h1>", "<p>Nearest routes: shop.example /api, shop.example /orders</p>"]),
        ("413", &["<h1>The request is too large</h1>", ">12 MiB sent, 10 MiB allowed (route.upload max_body). GET "]),
        ("500", &["<h1>A fault in causeway</h1>", "Please report it with the request id."]),
        ("503-restarting", &["<h1>Restarting</h1>", "Try again in 2 s."]),
        ("503-busy", &["<h1>Too busy right now</h1>", "Try again in 1 s."]),
        (
            "502-public",
            &[
                "<h1>This site cannot be reached right now</h1>",
                "The servers behind it did not answer. Trying again later may help.",
                "<b>app/1</b> <code>connection_refused</code>",
                "Reporting this? Quote the request: <code class=\"id\">4f6c2a91b07de358c1a4e9d2637f8b05</code>",
                "<small>Details: <code class=\"id\">causeway explain 4f6c2a91</code> on the proxy.</small>",
            ],
        ),
        (
            "502-post",
            &["Sent to an app: once (127.0.0.1:3001). It may have taken effect there. Check before you send it again."],
        ),
    ] {
        for part in parts {
            assert!(page(name).contains(part), "{name}: {part}\n{}", page(name));
        }
    }
    assert!(!page("404-public").contains("shop.example") && !page("404-public").contains("explain"));
    assert!(!page("502-post").contains("Try again"), "a POST is not sent again by a link");
}

#[test]
fn of_many_those_that_say_the_same_stand_together() {
    let exchange = many(1000);
    let page = page_of(&exchange, true, &[]);
    assert_eq!(page.matches("<li ").count(), 3, "{page}");
    assert!(page.contains("and 499 others the same way") && page.contains("head, up to 5.9 s"), "{page}");
    assert!(page.contains("and 399 more; the JSON form names each"), "{page}");
    let text = body(&exchange, Form::Text, true);
    assert!(text.contains("And 249 others the same way: ") && text.len() < 12_000, "{} {text}", text.len());
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let public = body(&exchange, Form::Text, false);
    assert!(public.contains("app/2   connection_refused\n   And 499 others the same way: app/3, "), "{public}");
    let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
    let rows = ["attempts", "not_tried"].map(|list| json[list].as_array().unwrap().len());
    assert_eq!(rows[0] + rows[1], 1000);
    // Eight stand each for itself.
    assert_eq!(page_of(&many(8), true, &[]).matches("<li ").count(), 8);
}

#[test]
fn a_page_may_load_nothing_and_run_nothing() {
    for full in [true, false] {
        let exchange = golden();
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Html, full));
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("script"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
    let exchange = golden();
    let json = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    assert!(!json.headers().contains_key("content-security-policy"));
}

/// WCAG 2.2, success criterion 1.4.3: 4.5 to 1, of every colour that text has on every ground it stands on.
#[test]
fn its_colours_can_be_read() {
    let page = page_of(&golden(), true, &[]);
    let schemes: Vec<_> =
        page.match_indices(":root {").map(|(at, _)| &page[at..at + page[at..].find('}').unwrap()]).collect();
    assert_eq!(schemes.len(), 2, "light and dark");
    for scheme in schemes {
        let luminance = |name: &str| {
            let at = scheme.find(&format!("--{name}: #")).unwrap() + name.len() + 5;
            let channel = |n: usize| {
                let value = f64::from(u8::from_str_radix(&scheme[at + n * 2..at + n * 2 + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2)
        };
        for text in ["ink", "soft", "failed"] {
            for ground in ["paper", "card"] {
                let (one, other) = (luminance(text), luminance(ground));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}\n{scheme}");
            }
        }
    }
}
