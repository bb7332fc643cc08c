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

#[test]
fn proxy_status_is_a_structured_field_for_every_cause() {
    let registered = [
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_unroutable",
        "connection_limit_reached",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "http_request_error",
        "http_response_incomplete",
        "http_protocol_error",
        "http_response_header_section_size",
        "http_response_transfer_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_loop_detected",
    ];
    for name in ["causeway", "edge 1", "1st", "say \"hi\"\\", "caf\u{e9}"] {
        for &cause in Cause::ALL {
            let exchange = one_failure(cause);
            let response =
                Annotator::new(name.into()).render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
            let field = response.headers()["proxy-status"].to_str().unwrap().to_owned();
            let list: sfv::List = sfv::Parser::new(&field).parse().unwrap_or_else(|e| panic!("{field}: {e}"));
            let [sfv::ListEntry::Item(item)] = &list[..] else { panic!("{field}") };
            let error = item.params.get("error").and_then(|e| e.as_token()).unwrap_or_else(|| panic!("{field}"));
            assert!(registered.contains(&error.as_str()), "{field}");
            assert!(item.params.get("details").and_then(|d| d.as_string()).is_some(), "{field}");
            assert_eq!(item.params.get("next-hop").unwrap().as_string().unwrap().as_str(), "127.0.0.1:3000");
        }
    }
}

#[test]
fn parameters_that_belong_to_one_error_type() {
    let field = |failure: Failure| {
        let mut exchange = exchange();
        exchange.attempts = vec![failed(1, failure, 1)];
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, false));
        response.headers()["proxy-status"].to_str().unwrap().to_owned()
    };
    for (failure, part) in [
        (Failure::new(Cause::DnsNotFound), "error=dns_error; rcode=\"NXDOMAIN\""),
        (Failure::new(Cause::ResponseHeadTooLarge).seen("70000 bytes"), "header-section-size=70000"),
        (Failure::new(Cause::BadChunking), "error=http_response_transfer_coding; coding=\"chunked\""),
        (Failure::new(Cause::ClientTooLarge).status(431), "error=http_request_error; status-code=431"),
        (Failure::new(Cause::UpgradeFailed), "received-status=101"),
        (Failure::new(Cause::TruncatedBody).received(200), "received-status=200"),
    ] {
        let field = field(failure);
        assert!(field.contains(part), "{field}");
        assert!(!field.contains("next-hop"), "{field}");
    }
    let passing = annotator().passing("127.0.0.1:3001", StatusCode::OK);
    assert_eq!(passing, "causeway; next-hop=\"127.0.0.1:3001\"; received-status=200");
}

#[test]
fn a_large_pool_keeps_proxy_status_small() {
    let mut exchange = exchange();
    exchange.attempts = (1..=500).map(|n| failed(n, Failure::new(Cause::ConnectionRefused), 1)).collect();
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Text, true));
    let field = response.headers()["proxy-status"].to_str().unwrap();
    assert!(field.len() < 400 && field.contains("500 failed: ") && field.contains("and 492 more"), "{field}");
}

/// What exists now: CONTRACT's keys that the model has, by their dotted names.
const KEYS: &[&str] = &[
    "timeouts.resolve",
    "timeouts.connect",
    "timeouts.write",
    "timeouts.read",
    "timeouts.body",
    "timeouts.request",
    "timeouts.tunnel",
    "buffers.request",
    "buffers.response_head",
    "buffers.response",
    "connections.idle",
    "connections.max_idle",
    "connections.max_age",
    "retry.attempts",
    "retry.resend",
    "retry.deadline",
    "limits.connections",
    "limits.in_flight",
    "limits.queue",
    "limits.queue_timeout",
    "retry.budget",
    "limits.head",
    "limits.fields",
];

#[test]
fn hints_name_only_keys_and_commands_that_exist() {
    let tables =
        ["timeouts.", "buffers.", "connections.", "retry.", "limits.", "health.", "passive.", "errors.", "tls."];
    let tools = ["curl ", "getent ", "ip ", "ulimit ", "sysctl "];
    let own = ["run", "check", "origin", "demo", "healthcheck"];
    let mut texts: Vec<String> = Vec::new();
    for &cause in Cause::ALL {
        let row = cause.row();
        texts.extend([row.hint, row.short, row.message].map(str::to_owned));
        let command = row.command;
        let tool = command.is_empty() || tools.iter().any(|tool| command.starts_with(tool)) || command == "ip route";
        let word = command.strip_prefix("causeway ").and_then(|rest| rest.split(' ').next());
        assert!(tool || word.is_some_and(|word| own.contains(&word)), "{cause}: {command}");
        for form in FORMS {
            texts.push(body(&one_failure(cause), form, true));
        }
    }
    for reason in [
        Reason::Evicted,
        Reason::RequestSent,
        Reason::BodyNotKept,
        Reason::Attempts,
        Reason::Deadline,
        Reason::Budget,
        Reason::Busy,
        Reason::Draining,
        Reason::Disabled,
        Reason::ClientGone,
        Reason::Unknown,
        Reason::Final,
    ] {
        for method in [Method::GET, Method::POST] {
            let mut exchange = one_failure(Cause::ReadTimeout);
            exchange.method = method;
            exchange.not_tried = vec![skipped(2, reason)];
            texts.push(body(&exchange, Form::Text, true));
        }
    }
    for text in &texts {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
            let word = word.trim_matches('.');
            if tables.iter().any(|table| word.starts_with(table)) {
                assert!(KEYS.contains(&word), "{word} in {text}");
            }
        }
        for gone in ["causeway probe", "causeway explain", "causeway status", "p99"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
    }
}
