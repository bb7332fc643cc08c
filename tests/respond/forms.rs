//! Accept, HEAD, hostile bytes, and a head that could not be read.

use super::*;

#[test]
fn head_gets_the_same_head_without_the_body() {
    let mut exchange = golden();
    let get = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    exchange.method = Method::HEAD;
    let head = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    assert!(head.body().is_empty());
    assert_eq!(head.headers()["content-type"], get.headers()["content-type"]);
    // One letter more in the method's name would not do here: the detail of JSON does not hold it.
    assert_eq!(head.headers()["content-length"], get.headers()["content-length"]);
}

#[test]
fn accept_is_negotiated() {
    let form = |accept: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_str(accept).unwrap());
        Form::of(&headers)
    };
    assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
    for (accept, wanted) in [
        ("*/*", Form::Json),
        ("", Form::Json),
        ("image/png", Form::Json),
        ("application/json", Form::Json),
        ("application/problem+json", Form::Json),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Form::Html),
        ("text/plain", Form::Text),
        ("TEXT/PLAIN", Form::Text),
        ("text/*", Form::Html),
        ("text/plain, */*", Form::Text),
        ("text/plain;q=0.5, text/html;q=0.4", Form::Text),
        ("text/html;q=0.4, text/plain;q=0.5", Form::Text),
        ("text/html;q=0, */*", Form::Json),
        ("application/json;q=0, text/*;q=0.1", Form::Html),
        ("application/json, text/plain, */*", Form::Json),
        ("text/html;level=1;q=0.3, application/json;q=0.2", Form::Html),
        ("text/plain;q=1.5, text/html", Form::Html),
        ("text/plain;q=NaN", Form::Json),
        (";;q=,,,/", Form::Json),
    ] {
        assert_eq!(form(accept), wanted, "{accept}");
    }
    let mut two = HeaderMap::new();
    two.append("accept", HeaderValue::from_static("text/html;q=0.1"));
    two.append("accept", HeaderValue::from_static("text/plain;q=0.9"));
    assert_eq!(Form::of(&two), Form::Text);
    for (kind, wanted) in [
        ("application/grpc", Form::Grpc),
        ("application/grpc+proto", Form::Grpc),
        ("application/gr", Form::Json),
        ("Application/gRPC;a=b", Form::Grpc),
        ("application/grpc-web+proto", Form::GrpcWeb),
        ("application/grpcs", Form::Json),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(Form::of(&headers), wanted);
    }
}

#[test]
fn hostile_bytes_stay_text() {
    let evil = "<script>alert('x')</script>\"\r\nSet-Cookie: a=b\u{1b}[31m\u{202e}";
    let mut exchange = golden();
    exchange.pool = Some(evil.into());
    exchange.route = Some(evil.into());
    exchange.uri = "/<script>'{{foot}}'".parse().unwrap_or_else(|_| "/'{{foot}}'&lt".parse().unwrap());
    exchange.attempts.push(failed(3, Failure::new(Cause::NotHttp).seen(evil), 1));
    exchange.not_tried[0].last_failure = Some((Cause::HealthStatus, format!("GET /$(reboot) gives {evil}")));
    for form in FORMS {
        for full in [true, false] {
            let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(form, full));
            let page = String::from_utf8(response.body().to_vec()).unwrap();
            assert!(page.bytes().all(|b| b == b'\n' || matches!(b, b' '..=b'~')), "{form:?} {page}");
            assert!(form != Form::Html || !page.contains("<script"), "{page}");
            assert!(!page.contains("curl -i http://127.0.0.1:3002/$("), "{page}");
            assert!(response.headers().get("set-cookie").is_none());
            if form == Form::Json {
                let json: serde_json::Value = serde_json::from_str(&page).unwrap();
                assert_eq!(json["route"], evil);
            }
        }
    }
    let bytes = refuse_bytes(annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Html, true)));
    assert!(!String::from_utf8_lossy(&bytes).to_lowercase().contains("\nset-cookie"));
}

#[test]
fn a_refusal_is_complete() {
    let exchange = own(Failure::new(Cause::ClientInvalid).seen("bare CR in a field"));
    let bytes = refuse_bytes(annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Text, false)));
    let text = std::str::from_utf8(&bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    for field in [
        "\r\nconnection: close",
        "\r\ndate: ",
        "\r\nproxy-status: causeway; error=http_request_error; status-code=400;",
    ] {
        assert!(head.contains(field), "{head}");
    }
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())));
    assert!(body.contains("The request breaks the rules of HTTP: bare CR in a field."), "{body}");
}

#[test]
fn a_broken_head_is_read_as_far_as_it_goes() {
    let found = scan(b"HEAD /a?b HTTP/1.1\r\nHost: x\r\n bad line\r\nAccept: text/html\r\nX-Cut: ab");
    assert_eq!((found.method, found.uri.to_string()), (Method::HEAD, "/a?b".to_owned()));
    assert_eq!(Form::of(&found.headers), Form::Html);
    let found = scan(b"GET /q?\"a\"=<\xc3\xbc>\x7f%20 HTTP/1.1\r\n\r\n");
    assert_eq!(
        found.uri, "/q?%22a%22=%3C%C3%BC%3E%7F%20",
        "the log has what was asked, as near as a target can say it"
    );
    let found = scan(b"\x16\x03\x01\x00");
    assert_eq!((found.method, Form::of(&found.headers)), (Method::GET, Form::Json));
}

proptest! {
    #[test]
    fn any_bytes_can_be_scanned(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let found = scan(&raw);
        let _ = Form::of(&found.headers);
    }

    #[test]
    fn any_verdict_has_a_status_and_accounts_for_all(causes in proptest::collection::vec(0..Cause::ALL.len(), 1..6)) {
        let failures = causes.iter().map(|i| Failure::new(Cause::ALL[*i])).collect::<Vec<_>>();
        let (status, lead) = judged(failures, None);
        prop_assert!(causes.iter().any(|i| Cause::ALL[*i] == lead));
        prop_assert!((400..600).contains(&status));
        let timeouts = causes.iter().all(|i| Cause::ALL[*i].row().timeout);
        if timeouts {
            prop_assert_eq!(status, 504);
        }
    }

    #[test]
    fn text_stays_within_eighty_columns(ms in 0u64..10_000_000, cause in 0..Cause::ALL.len(), name in "[a-z]{1,60}") {
        let mut exchange = one_failure(Cause::ALL[cause]);
        exchange.attempts[0].elapsed = Duration::from_millis(ms);
        exchange.attempts[0].upstream = name.into();
        let text = body(&exchange, Form::Text, true);
        for line in text.lines().filter(|line| !line.contains("Next: ") && !line.contains("not tried")) {
            prop_assert!(line.len() <= 90 && (line.len() <= 80 || line.starts_with("1  ")), "{}", line);
        }
    }
}
