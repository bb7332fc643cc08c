//! A check is no request: another port is another matter, and another limit another cure.

use causeway::health::Operator;

use super::*;

/// A pool of this upstream, with that check, that fails at once when it is evicted.
fn checked(upstream: SocketAddr, health: &str, last_resort: &str) -> Proxy {
    Proxy::start(&format!(
        "errors.detail = \"full\"\n[pool.app]\nupstreams = [\"{upstream}\"]\nwhen_all_evicted = \"{last_resort}\"\n\
         retry.resend = 0\nhealth = {{ {health}, interval = \"50ms\", timeout = \"200ms\" }}\n"
    ))
}

/// The looks that have ended until the one that explains this failure has.
async fn looks_until(proxy: &Proxy, cause: Cause) -> u64 {
    found(proxy, cause).await;
    *insight(proxy).changes().borrow()
}

#[tokio::test]
async fn a_check_that_fails_at_another_port_says_nothing_of_that_of_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |_| (Vec::new(), false));
    let elsewhere = Origin::nobody().port();
    let proxy = checked(address, &format!("type = \"tcp\", port = {elsewhere}"), "try");
    proxy.until(0, State::Evicted).await;
    assert_eq!(get(&proxy, "/").await.status, 502);
    // The check failed first, and is no matter for a look.
    assert_eq!(looks_until(&proxy, Cause::ClosedWithoutResponse).await, 1);
}

#[tokio::test]
async fn a_check_that_passes_at_another_port_proves_nothing_of_that_of_requests() {
    let (nobody, listener) = next_door().await;
    let there = listener.local_addr().unwrap();
    serve_ok(listener);
    let checks = TcpListener::bind((nobody.ip(), 0)).await.unwrap();
    let port = checks.local_addr().unwrap().port();
    tokio::spawn(async move { while checks.accept().await.is_ok() {} });
    let proxy = checked(nobody, &format!("type = \"tcp\", port = {port}"), "fail");
    proxy.until(0, State::Ready).await;
    assert_eq!(get(&proxy, "/").await.status, 502);
    let said = &found(&proxy, Cause::ConnectionRefused).await.sentence;
    assert!(said.contains(&there.to_string()), "that is sought next door: {said}");
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_told_of_its_own_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |said| {
        let root = said.starts_with(b"GET / ");
        (if root { OK.to_vec() } else { Vec::new() }, !root)
    });
    let proxy = checked(address, "path = \"/slow\"", "fail");
    proxy.until(0, State::Evicted).await;
    let of = |asker| move |insight: &Insight| insight.of(asker, Cause::ReadTimeout, Instant::now());
    let said = until(&insight(&proxy), of(Asker::Check)).await.expect("a look has ended");
    assert!(said.sentence.ends_with("If it has to be slow, raise health.timeout."), "{said:?}");
    let told = get(&proxy, "/").await.text();
    assert!(told.contains("raise health.timeout") && !told.contains("timeouts.read for"), "{told}");
    assert_eq!(of(Asker::Traffic)(&insight(&proxy)), None, "it explains no request");
}

#[tokio::test]
async fn one_that_is_drained_has_no_trouble() {
    let (nobody, listener) = next_door().await;
    serve_ok(listener);
    let proxy = checked(nobody, "type = \"tcp\"", "fail");
    proxy.until(0, State::Evicted).await;
    let finding = found(&proxy, Cause::ConnectionRefused).await;
    assert!(get(&proxy, "/").await.text().contains(&finding.sentence));
    let pool = Arc::clone(&proxy.server().pools()[0]);
    pool.switch(&nobody.to_string(), Operator::Draining, Instant::now()).unwrap();
    let told: Value = serde_json::from_str(&get(&proxy, "/").await.text()).unwrap();
    assert_eq!(told["not_tried"][0]["reason"], "draining", "{told:#}");
    assert_ne!(told["not_tried"][0]["command"], finding.command.as_deref().unwrap(), "{told:#}");
    assert!(!told.to_string().contains("Did you mean"), "{told:#}");
}

#[tokio::test]
async fn the_other_family_is_no_suggestion_where_it_is_an_upstream() {
    let nobody = Origin::nobody();
    let Ok(six) = TcpListener::bind(("::1", nobody.port())).await else { return }; // no IPv6 here
    let there = six.local_addr().unwrap();
    serve_ok(six);
    let both = Proxy::with("", &[nobody, there], "");
    insight(&both).ask(Asker::Traffic, Cause::ConnectionRefused, Instant::now());
    insight(&both).changes().wait_for(|looks| *looks > 0).await.unwrap();
    let found = insight(&both).of(Asker::Traffic, Cause::ConnectionRefused, Instant::now());
    assert!(found.is_none_or(|found| !found.sentence.contains(&there.to_string())));
}
