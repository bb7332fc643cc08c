//! Rules for fields, both ways.

use super::*;

const REQUEST: &str = r#"
[route.shop.request_headers]
set = { X-From = "{{client_ip}}", X-Where = "{{scheme}}://{{host}}{{path}}", X-To = "{{pool}}/{{upstream}}", X-Id = "{{request_id}}", X-Real-IP = "hidden" }
add = { Accept = "text/x-added" }
remove = ["Cookie", "X-Forwarded-Port"]
"#;

#[tokio::test]
async fn requests_go_out_by_the_rules() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = proxy(&origin, REQUEST);
    let sent = "Cookie: a=b\r\nX-From: forged\r\nAccept: text/plain\r\nX-Forwarded-For: 1.2.3.4\r\n";
    let answer = get(&proxy, sent).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let head = origin.record().requests[0].head.to_ascii_lowercase();
    let id = answer.field("x-request-id").unwrap();
    for line in [
        "x-from: 127.0.0.1",
        "x-where: http://shop.test/x?y",
        &format!("x-to: app/{}", origin.address()),
        &format!("x-id: {id}"),
        "x-real-ip: hidden",
        "accept: text/plain",
        "accept: text/x-added",
        "host: shop.test:8080",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert_eq!(head.lines().filter(|own| *own == line).count(), 1, "{line}\n{head}");
    }
    for gone in ["cookie:", "x-forwarded-port:", "forged"] {
        assert!(!head.contains(gone), "{gone}\n{head}");
    }
}

/// Each attempt names its own upstream.
#[tokio::test]
async fn every_attempt_is_filled_in_by_itself() {
    let (first, second) = (Origin::start(Behaviour::CloseBeforeHead).await, Origin::start(Behaviour::Echo).await);
    let more = "balance = \"round_robin\"\n[route.shop]\nrequest_headers = { set = { X-To = \"{{upstream}}\" } }\n";
    let proxy = Proxy::unchecked(&[first.address(), second.address()], more);
    for _ in 0..2 {
        assert_eq!(get(&proxy, "").await.status, 200);
    }
    for origin in [first, second] {
        for request in origin.record().requests {
            let line = format!("x-to: {}", origin.address());
            assert!(request.head.to_ascii_lowercase().contains(&line), "{}", request.head);
        }
    }
}

const RESPONSE: &str = r#"
[route.shop.response_headers]
set = { Server = "shop", X-By = "{{pool}}/{{upstream}}" }
add = { Vary = "X", Set-Cookie = "b=2" }
remove = ["X-Powered-By"]
"#;

#[tokio::test]
async fn answers_come_back_by_the_rules() {
    let fields = "200 OK\r\nServer: app\r\nX-Powered-By: PHP\r\nVary: Accept\r\nSet-Cookie: a=1";
    let origin = answering(fields, b"ok").await;
    let proxy = proxy(&origin, RESPONSE);
    let answer = get(&proxy, "").await;
    assert_eq!((answer.fields("server"), answer.field("x-powered-by")), (vec!["shop"], None));
    assert_eq!(answer.field("x-by"), Some(&*format!("app/{}", origin.address())));
    assert_eq!((answer.fields("vary"), answer.fields("set-cookie")), (vec!["Accept", "X"], vec!["a=1", "b=2"]));
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn answers_of_the_config_have_them_and_errors_do_not() {
    let text = format!("[route.shop]\nrespond = {{ body = \"x\" }}\n{RESPONSE}");
    let answer = get(&Proxy::start(&text), "").await;
    assert_eq!((answer.field("server"), answer.field("x-by")), (Some("shop"), Some("/")));
    let text = format!("[route.shop]\nredirect = \"https://x{{{{path}}}}\"\n{RESPONSE}");
    let answer = get(&Proxy::start(&text), "").await;
    assert_eq!((answer.status, answer.field("server")), (308, Some("shop")));
    let proxy = Proxy::unchecked(&[Origin::nobody()], &format!("[route.shop]\n{RESPONSE}"));
    let answer = get(&proxy, "").await;
    assert_eq!((answer.status, answer.field("server"), answer.field("x-by")), (502, None, None));
}

#[tokio::test]
async fn what_the_client_sends_never_leaves_its_field() {
    let origin = Origin::start(Behaviour::Echo).await;
    let keys = "request_headers = { set = { X-Where = \"{{host}} {{path}}\" } }\nresponse_headers = { set = { X-Where = \"{{path}}\" } }";
    let proxy = proxy(&origin, keys);
    let answer = ask(&proxy, "GET /%0d%0aX-Evil:%201?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("x-evil")), (200, None), "{answer:?}");
    assert_eq!(answer.field("x-where"), Some("/%0d%0aX-Evil:%201?a=%00"));
    let head = origin.record().requests[0].head.to_ascii_lowercase();
    assert!(head.contains("x-where: a /%0d%0ax-evil:%201?a=%00\r\n"), "{head}");
}
