//! Every cause in every form: nothing secret in public, and hints that name only what exists.

use super::*;

#[test]
fn every_cause_speaks_in_every_form_and_public_detail_tells_no_secret() {
    for &cause in Cause::ALL {
        let exchange = one_failure(cause);
        for form in FORMS {
            for full in [true, false] {
                let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(form, full));
                let body = String::from_utf8(response.body().to_vec()).unwrap();
                let fields = format!("{:?}", response.headers());
                assert!(body.is_ascii() && fields.is_ascii(), "{cause} {form:?}");
                assert!(
                    !body.contains("SOURCE-TEXT") && !fields.contains("SOURCE-TEXT"),
                    "{cause}: the source is for the log"
                );
                assert!(!body.contains("{seen}") && !body.contains("{limit}") && !body.contains("{address}"), "{body}");
                if form != Form::Grpc {
                    assert!(body.contains(cause.token()), "{cause} {form:?} {full}\n{body}");
                }
                let own = cause.row().fault == Fault::Client;
                if !full {
                    for secret in ["127.0.0.1", ":3000", ":3002", "/orders", "page=2", "/healthz", "curl ", "gives 503"]
                    {
                        assert!(
                            !body.contains(secret) && !fields.contains(secret),
                            "{cause} {form:?} {secret}\n{body}{fields}"
                        );
                    }
                    assert!(own || !body.contains("SEEN-BYTES") && !body.contains("77 s"), "{cause} {form:?}\n{body}");
                    assert!(own || !body.contains(cause.row().message) || cause == Cause::Bug, "{cause}\n{body}");
                }
            }
        }
    }
}

/// Is there such a key: of a pool, a listener, a route, or at the top of the file? The config itself is asked.
fn is_a_key(key: &str) -> bool {
    let tables = ["", "[pool.app]\n", "[listener.main]\n", "[route.main]\n"];
    tables.iter().any(|table| {
        let text = format!("{table}{key} = \"?\"\n[pool.other]\nupstreams = [\"1\"]\n");
        let problems = causeway::config::Config::from_toml(&text).err().unwrap_or_default();
        !problems.iter().any(|p| p.message.contains("unknown key") || p.message.contains("does not belong"))
    })
}

/// A command of causeway's own, as CONTRACT §1 has it, with arguments that it takes.
fn is_a_command(words: &str) -> bool {
    let address =
        |text: &str| text.trim_matches('\'').rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match words.split(' ').collect::<Vec<_>>().as_slice() {
        ["probe", url] if url.contains("://") => url.trim_matches('\'').parse::<http::Uri>().is_ok(),
        ["probe", at] => address(at),
        ["explain", about] => {
            let id = about.len() == 8 && about.bytes().all(|b| b.is_ascii_hexdigit());
            id || Cause::ALL.iter().any(|cause| cause.token() == *about)
        }
        ["check", "--url", url] => url.parse::<http::Uri>().is_ok(),
        ["check"] => true,
        _ => false,
    }
}

/// Without the escapes of HTML.
fn plain(page: &str) -> String {
    page.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Every `causeway …` of a text: up to the end of its line, or of what quotes it.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let told = text
        .split("causeway ")
        .skip(1)
        .filter(|rest| ["probe", "explain", "check"].iter().any(|w| rest.starts_with(w)));
    told.map(|rest| rest.split(['\n', '"', '<', '`']).next().unwrap_or_default())
}

#[test]
fn hints_name_only_keys_and_commands_that_exist() {
    let tables =
        ["timeouts.", "buffers.", "connections.", "retry.", "limits.", "health.", "passive.", "errors.", "tls."];
    let tools = ["curl ", "sysctl net.ipv4.ip_local_port_range"];
    let mut texts: Vec<String> = Vec::new();
    for &cause in Cause::ALL {
        let row = cause.row();
        texts.extend([row.means, row.hint, row.short, row.message].map(str::to_owned));
        let command = Failure::new(cause).command("127.0.0.1:3000").unwrap_or_default();
        let own = command.strip_prefix("causeway ").is_some_and(is_a_command);
        let tool = command.is_empty() || tools.iter().any(|tool| command.starts_with(tool));
        assert!(own || tool, "{cause}: {command}");
        for form in FORMS {
            texts.push(plain(&body(&one_failure(cause), form, true)));
            texts.push(plain(&body(&own_failure(cause), form, true)));
        }
    }
    for reason in REASONS {
        for method in [Method::GET, Method::POST] {
            let mut exchange = one_failure(Cause::ReadTimeout);
            exchange.method = method;
            exchange.not_tried = vec![skipped(2, reason)];
            exchange.not_tried[0].in_flight_limit = Some(7);
            texts.push(body(&exchange, Form::Text, true));
            exchange.attempts.clear();
            texts.push(body(&exchange, Form::Text, true));
        }
    }
    let (mut keys, mut seen) = (std::collections::BTreeSet::new(), 0);
    for text in &texts {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
            let word = word.trim_matches('.');
            let word = word.strip_prefix("listener.web.").unwrap_or(word);
            if tables.iter().any(|table| word.starts_with(table)) {
                keys.insert(word);
            }
        }
        for command in commands(text) {
            assert!(is_a_command(command), "{command:?} in {text}");
            seen += 1;
        }
        assert!(!text.contains("causeway status") && !text.contains("p99"), "{text}");
    }
    assert!(seen > 100 && keys.len() > 10, "{seen} {keys:?}");
    assert!(!is_a_key("timeouts.zzz") && !is_a_key("limits.heads"), "a wrong key is seen");
    for key in keys {
        assert!(is_a_key(key), "no key {key}");
    }
}

/// Whoever reads a hint learns where: of an upstream, its address in the hint or in the command, or a sentence about
/// `it` in its row. What a limit has ended names the limit.
#[test]
fn a_hint_says_where_which_limit_and_what_next() {
    for &cause in Cause::ALL {
        let failure = Failure::new(cause).limit("5.0 s").seen("SEEN");
        let (row, hint) = (cause.row(), failure.hint("app.test:3000"));
        let command = failure.command("app.test:3000").unwrap_or_default();
        if matches!(row.fault, Fault::Upstream | Fault::Network) {
            let about = hint.contains("app.test:3000") || hint.starts_with("It") || command.contains("app.test:3000");
            let about = about || cause == Cause::RequestTimeout;
            assert!(about && !command.is_empty(), "{cause}: {hint} {command}");
        }
        if row.timeout || row.hint.contains("{limit}") {
            assert!(hint.contains("5.0 s"), "{cause}: {hint}");
        }
        if row.timeout {
            assert!(hint.contains("(limit: timeouts."), "{cause}: {hint}");
        }
        for text in [&*hint, &failure.short(), &failure.message(), row.means] {
            assert!(text.is_ascii() && !text.contains(['!', '{', '}']) && !text.contains("  "), "{cause}: {text}");
        }
        let begins = ["app.test", "causeway"].iter().any(|word| hint.starts_with(word));
        let begins = begins || hint.starts_with(|c: char| c.is_ascii_uppercase());
        assert!(hint.ends_with(['.', '?']) && begins, "{hint}");
        let bare = Failure::new(cause);
        for text in [bare.hint("a:1"), bare.short(), bare.message().into_owned()] {
            assert!(!text.contains("{") && !text.contains(": .") && !text.contains(" ."), "{cause}: {text}");
        }
    }
}
