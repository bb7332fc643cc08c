//! Proxy-Status (RFC 9209): the one type of each cause and its parameters, and that it is a structured field whatever
//! names and bytes stand in it.

use super::*;

fn field(failure: Failure, full: bool) -> String {
    let mut exchange = exchange();
    exchange.attempts = vec![failed(1, failure, 1)];
    of(&annotator(), &exchange, full)
}

fn of(annotator: &Annotator, exchange: &Exchange, full: bool) -> String {
    let response = annotator.render(exchange, &verdict(exchange), Telling::new(Form::Json, full));
    response.headers()["proxy-status"].to_str().unwrap().to_owned()
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
        "proxy_configuration_error",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_denied",
        "http_request_error",
        "http_response_incomplete",
        "http_protocol_error",
        "http_response_header_section_size",
        "http_response_header_size",
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
    let over = |size, largest| Oversize { size, whole: false, largest: Some(("Set-Cookie".to_owned(), largest)) };
    let large = |over: Oversize| Failure::new(Cause::ResponseHeadTooLarge).sent(true).limit("64 KiB").oversize(over);
    for (failure, part) in [
        (Failure::new(Cause::DnsNotFound), "error=dns_error; rcode=\"NXDOMAIN\"; details"),
        (Failure::new(Cause::DnsNotFound).seen("no such name"), "error=dns_error; rcode=\"NXDOMAIN\"; details"),
        (Failure::new(Cause::DnsNotFound).seen("the name exists, but has no address"), "error=dns_error; details"),
        (Failure::new(Cause::DnsFailure).seen("SERVFAIL"), "error=dns_error; rcode=\"SERVFAIL\"; details"),
        (Failure::new(Cause::DnsFailure).seen("no reason"), "error=dns_error; details"),
        (
            large(over(70_000, 61_000)),
            "error=http_response_header_section_size; next-protocol=http/1.1; header-section-size=70000; details",
        ),
        (
            large(over(70_000, 65_537)),
            "error=http_response_header_size; next-protocol=http/1.1; header-name=\"Set-Cookie\"; header-size=65537; details",
        ),
        (large(over(u64::MAX, 1)), "error=http_response_header_section_size; next-protocol=http/1.1; details"),
        (
            Failure::new(Cause::ResponseHeadTooLarge).limit("256 fields"),
            "error=http_response_header_section_size; next-protocol=http/1.1; details",
        ),
        (
            Failure::new(Cause::BadChunking).received(200),
            "error=http_response_transfer_coding; next-protocol=http/1.1; received-status=200; coding=chunked; details",
        ),
        (
            Failure::new(Cause::UpgradeFailed),
            "error=http_upgrade_failed; next-protocol=http/1.1; received-status=101; details",
        ),
        (Failure::new(Cause::TruncatedBody).received(404), "next-protocol=http/1.1; received-status=404; details"),
        (Failure::new(Cause::ConnectTimeout), "error=connection_timeout; details"),
    ] {
        let field = field(failure, false);
        assert!(field.contains(part), "{field}");
        assert!(!field.contains("next-hop"), "{field}");
    }
    for (status, phrase) in [(400, "Bad Request"), (413, "Content Too Large"), (431, "Request Header Fields Too Large")]
    {
        let field = of(&annotator(), &own(Failure::new(Cause::ClientTooLarge).status(status)), true);
        let part = format!("error=http_request_error; status-code={status}; status-phrase=\"{phrase}\"; details");
        assert!(field.contains(&part), "{field}");
    }
    let passing = annotator().passing("127.0.0.1:3001", "http/1.1", StatusCode::OK);
    assert_eq!(passing, "causeway; next-hop=\"127.0.0.1:3001\"; next-protocol=http/1.1; received-status=200");
}

#[test]
fn members_of_proxies_behind_us_stay_in_front() {
    let cut = |behind: &str| field(Failure::new(Cause::TruncatedBody).sent(true).received(200).behind(behind), true);
    let field = cut("inner; received-status=200, \"edge, two\"; details=\"a \\\"b\\\"\"");
    let list: sfv::List = sfv::Parser::new(&field).parse().unwrap_or_else(|e| panic!("{field}: {e}"));
    assert_eq!(list.len(), 3, "{field}");
    assert!(field.contains(", causeway; error=http_response_incomplete; "), "{field}");
    // What would spoil the list for all is left out.
    for broken in ["", ",", "inner,", "inner; details=\"open", "caf\u{e9}", "a\\", "a,,b", &"x".repeat(9000)] {
        assert!(cut(broken).starts_with("causeway; error="), "{broken}");
    }
}

proptest! {
    /// Whatever a name, an upstream or its bytes hold.
    #[test]
    fn it_is_a_structured_field_with_any_names_and_bytes(
        name in ".{0,20}", authority in ".{0,20}", id in "[A-Za-z0-9._-]{8,40}", field_name in ".{0,20}",
        seen in proptest::collection::vec(any::<u8>(), 0..40), limit in ".{0,12}", behind in "[ -~]{0,30}",
        size: u64, largest: u64, received in 0u16..1000, cause in 0..Cause::ALL.len(), alone: bool, full: bool,
    ) {
        let over = Oversize { size, whole: alone, largest: Some((field_name, largest)) };
        let failure =
            Failure::new(Cause::ALL[cause]).limit(limit).seen(seen).oversize(over).received(received).behind(&behind);
        let mut exchange = exchange();
        exchange.request_id = id.into();
        if alone {
            exchange.failure = Some(Arc::new(failure));
        } else {
            exchange.attempts = vec![failed(1, failure, 1)];
            exchange.attempts[0].authority = authority.into();
        }
        let annotator = Annotator::new(name.as_str().into());
        let told = of(&annotator, &exchange, full);
        // What was behind may be nonsense of its own; ours is the last member.
        let ours = if told.len() > behind.len() { told.strip_prefix(&format!("{}, ", behind.trim())).unwrap_or(&told) } else { &told };
        let list: sfv::List = sfv::Parser::new(ours).parse().map_err(|e| TestCaseError::fail(format!("{ours}: {e}")))?;
        let Some(sfv::ListEntry::Item(item)) = list.last() else { panic!("{ours}") };
        prop_assert!(item.params.get("error").is_some_and(|error| error.as_token().is_some()), "{}", ours);
        let passing = annotator.passing(&name, "http/1.1", StatusCode::OK);
        let parsed: Result<sfv::List, _> = sfv::Parser::new(passing.to_str().unwrap()).parse();
        prop_assert!(parsed.is_ok(), "{:?}", passing);
    }
}

#[test]
fn a_large_pool_keeps_proxy_status_small() {
    let mut exchange = exchange();
    exchange.attempts = (1..=500).map(|n| failed(n, Failure::new(Cause::ConnectionRefused), 1)).collect();
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Text, true));
    let field = response.headers()["proxy-status"].to_str().unwrap();
    assert!(field.len() < 400 && field.contains("500 failed: ") && field.contains("and 492 more"), "{field}");
}
