//! Who comes in: redirect_https, deny and allow, rate_limit, basic_auth, in that order.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// A file of these users, each with its name as its password.
fn users(names: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    let line = |name: &&str| format!("{name}:{}\n", bcrypt::hash(name, 4).unwrap());
    std::fs::write(&file, names.iter().map(line).collect::<String>()).unwrap();
    (folder, format!("basic_auth = \"{}\"", file.display()))
}

/// `ann:ann`, `eve:eve`, `ann:x`.
const ANN: &str = "Authorization: Basic YW5uOmFubg==\r\n";
const EVE: &str = "Authorization: Basic ZXZlOmV2ZQ==\r\n";
const WRONG: &str = "Authorization: Basic YW5uOng=\r\n";

#[tokio::test]
async fn everything_goes_to_https_without_the_port() {
    let origin = Origin::start(Behaviour::Echo).await;
    let top = "trusted_proxies = [\"loopback\"]\n[listener.main]\nredirect_https = true";
    let proxy = Proxy::with(top, &[origin.address()], "");
    for (request, location) in [
        ("GET /a/b?c=d HTTP/1.1\r\nHost: shop.test:8080\r\n", "https://shop.test/a/b?c=d"),
        ("POST / HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 0\r\n", "https://[::1]/"),
        ("OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n", "https://shop.test/"),
        ("GET http://shop.test:8080/a HTTP/1.1\r\nHost: shop.test\r\n", "https://shop.test/a"),
        ("HEAD /a HTTP/1.1\r\nHost: shop.test\r\n", "https://shop.test/a"),
    ] {
        let answer = ask(&proxy, &format!("{request}\r\n")).await;
        assert_eq!((answer.status, answer.field("location")), (308, Some(location)), "{request}: {answer:?}");
        assert!(answer.field("x-request-id").is_some(), "{answer:?}");
    }
    assert_eq!(ask(&proxy, "GET / HTTP/1.0\r\n\r\n").await.status, 400);
    // Somebody in front ends TLS, and says so: no circle.
    let answer = get(&proxy, "X-Forwarded-Proto: https\r\n").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(origin.record().requests.len(), 1);
}

#[tokio::test]
async fn deny_goes_before_allow_and_both_know_who_is_behind_a_proxy() {
    let origin = Origin::start(Behaviour::Echo).await;
    let keys = "[route.shop]\nallow = [\"private\"]\ndeny = [\"10.1.0.0/16\"]\n";
    let proxy = Proxy::with("trusted_proxies = [\"loopback\"]", &[origin.address()], keys);
    for (client, status) in
        [("10.0.0.1", 200), ("10.1.0.1", 403), ("192.0.2.1", 403), ("fd00::1", 200), ("::ffff:10.1.0.1", 403)]
    {
        let answer = get(&proxy, &format!("X-Forwarded-For: {client}\r\n")).await;
        assert_eq!(answer.status, status, "{client}: {answer:?}");
    }
    // The proxy in front itself is no client of the list.
    assert_eq!(get(&proxy, "").await.status, 403);
}

#[tokio::test]
async fn an_untrusted_client_cannot_say_that_it_is_another() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = proxy(&origin, "allow = [\"10.0.0.0/8\"]");
    assert_eq!(get(&proxy, "X-Forwarded-For: 10.0.0.1\r\n").await.status, 403);
}

#[tokio::test]
async fn each_client_has_its_own_rate_over_all_workers() {
    let origin = Origin::start(Behaviour::Echo).await;
    let keys = "[route.shop]\nrate_limit = \"3/h\"\n";
    let proxy = Proxy::with("trusted_proxies = [\"loopback\"]", &[origin.address()], keys);
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    for left in ["2", "1", "0"] {
        let answer = get(&proxy, &from("2001:db8::1")).await;
        assert_eq!((answer.status, answer.field("ratelimit-remaining")), (200, Some(left)), "{answer:?}");
        assert_eq!(answer.field("ratelimit-limit"), Some("3"));
    }
    // One network is one client.
    let answer = get(&proxy, &from("2001:db8::2")).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    let again: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&again), "{answer:?}");
    assert_eq!((answer.field("ratelimit-remaining"), answer.field("ratelimit-reset")), (Some("0"), Some("3600")));
    assert!(answer.text().contains(&format!("Try again in {again} s.")), "{}", answer.text());
    assert_eq!(get(&proxy, &from("192.0.2.1")).await.status, 200);
}

#[tokio::test]
async fn a_rate_comes_back_as_it_was_told() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = proxy(&origin, "rate_limit = \"1/s\"");
    let began = Instant::now();
    assert_eq!(get(&proxy, "").await.status, 200);
    loop {
        let answer = get(&proxy, "").await;
        if answer.status == 200 {
            break;
        }
        assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")));
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_grpc_call_is_refused_in_its_own_words() {
    let origin = Origin::start(Behaviour::Echo).await;
    let (_folder, auth) = users(&["ann"]);
    for (keys, code, pushback) in [
        ("deny = [\"loopback\"]", "7", None),
        (&*auth, "16", None),
        ("rate_limit = \"1/h\"", "14", Some(3_600_000..=3_600_000_u64)),
    ] {
        let proxy = proxy(&origin, keys);
        let call =
            "POST /shop.v1.Cart/Add HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n";
        if pushback.is_some() {
            assert_eq!(get(&proxy, "").await.status, 200);
        }
        let answer = ask(&proxy, call).await;
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some(code)), "{answer:?}");
        let told = answer.field("grpc-retry-pushback-ms").map(|ms| ms.parse().unwrap());
        assert_eq!(told.is_some(), pushback.is_some(), "{answer:?}");
        assert!(told.is_none_or(|told| pushback.unwrap().contains(&told)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_password_comes_in_and_goes_no_further() {
    let origin = Origin::start(Behaviour::Echo).await;
    let (_folder, keys) = users(&["bob", "ann"]);
    let proxy = proxy(&origin, &keys);
    for fields in ["", WRONG, EVE, "Authorization: Bearer x\r\n", &format!("{ANN}{ANN}")] {
        let answer = get(&proxy, fields).await;
        assert_eq!(answer.status, 401, "{fields}: {answer:?}");
        assert_eq!(answer.field("www-authenticate"), Some("Basic realm=\"causeway\", charset=\"UTF-8\""));
    }
    // The first is hashed, the second known.
    for _ in 0..2 {
        assert_eq!(get(&proxy, ANN).await.status, 200);
    }
    let requests = origin.record().requests;
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| !request.head.to_ascii_lowercase().contains("authorization")));
}

#[tokio::test]
async fn a_password_is_asked_of_answers_of_causeways_own_too() {
    let (_folder, keys) = users(&["ann"]);
    let text = format!("[route.shop]\nrespond = {{ body = \"inside\" }}\n{keys}\n");
    let proxy = Proxy::start(&text);
    assert_eq!(get(&proxy, "").await.status, 401);
    let answer = get(&proxy, ANN).await;
    assert_eq!((answer.status, &*answer.text()), (200, "inside"));
}

/// A slow hash on its way holds up nobody else, on any worker.
#[tokio::test]
async fn hashing_is_in_nobodys_way() {
    let origin = Origin::start(Behaviour::Echo).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("ann", 4).unwrap().replace("$04$", "$10$"))).unwrap();
    let more = format!("[route.open]\npath = \"/open\"\n[route.shop]\nbasic_auth = \"{}\"\n", file.display());
    let proxy = Proxy::unchecked(&[origin.address()], &more);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{WRONG}\r\n")).await;
        slow.push(client);
    }
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    }
    let hashed = proxy.exchanges().iter().filter(|seen| seen.status == 401).count();
    assert!(hashed < 4, "all four were there before the twenty");
    for client in &mut slow {
        assert_eq!(client.response().await.status, 401);
    }
}

#[tokio::test]
async fn the_order_is_the_documented_one() {
    let origin = Origin::start(Behaviour::Echo).await;
    let (_folder, auth) = users(&["ann"]);
    // Who may not come in costs no rate, and whoever is over the rate is asked for no password.
    let keys = format!("[route.shop]\ndeny = [\"10.0.0.0/8\"]\nrate_limit = \"1/h\"\n{auth}\n");
    let proxy = Proxy::with("trusted_proxies = [\"loopback\"]", &[origin.address()], &keys);
    let (denied, other) = ("X-Forwarded-For: 10.0.0.1\r\n", "X-Forwarded-For: 192.0.2.1\r\n");
    let answer = get(&proxy, denied).await;
    assert_eq!((answer.status, answer.field("ratelimit-limit")), (403, None));
    let answer = get(&proxy, other).await;
    assert_eq!((answer.status, answer.field("ratelimit-remaining")), (401, Some("0")));
    let answer = get(&proxy, &format!("{other}{ANN}")).await;
    assert_eq!((answer.status, answer.field("www-authenticate")), (429, None));
}
