//! What is suggested, and what never is.

use super::*;

async fn refused(nobody: SocketAddr, around: Around<'_>) -> Option<Finding> {
    look_around(&endpoint(nobody), Cause::ConnectionRefused, around).await.map(|found| found.finding)
}

#[tokio::test]
async fn a_neighbour_that_is_known_already_is_no_suggestion() {
    let (nobody, listener) = next_door().await;
    let there = listener.local_addr().unwrap();
    serve_ok(listener);
    let suggested = |finding: Option<Finding>| finding.is_some_and(|f| f.sentence.contains(&there.to_string()));
    let none = Around::default();
    assert!(suggested(refused(nobody, none).await));
    assert!(suggested(look(&endpoint(nobody), Cause::ConnectionRefused, &[]).await));
    let any = |ip: &str| SocketAddr::new(ip.parse().unwrap(), there.port());
    for (own, is_own) in [(there, true), (any("0.0.0.0"), true), (any("::"), false)] {
        let found = refused(nobody, Around { own: &[own], ..none }).await;
        assert_eq!(suggested(found), !is_own, "{own} is causeway's own");
    }
    assert!(!suggested(refused(nobody, Around { named: &[there], ..none }).await), "another upstream");
    assert!(refused(nobody, Around { proven: true, ..none }).await.is_none(), "it has worked there");
}

#[tokio::test]
async fn only_a_real_http_answer_makes_a_neighbour() {
    for answer in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nProxy-Status: causeway; error=destination_not_found\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        // causeway would not take these.
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"",
    ] {
        let (nobody, listener) = next_door().await;
        let there = listener.local_addr().unwrap().to_string();
        serve(listener, move |_| (answer.to_vec(), false));
        let said = refused(nobody, Around::default()).await.map(|finding| finding.sentence).unwrap_or_default();
        assert!(!said.contains(&there), "{}: {said}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn an_address_of_causeways_own_needs_no_connection() {
    let own = Origin::start(Behaviour::Silent).await;
    for cause in [Cause::ReadTimeout, Cause::LoopDetected, Cause::ConnectTimeout] {
        let said = look(&endpoint(own.address()), cause, &[own.address()]).await.unwrap();
        assert!(said.sentence.contains("is causeway's own address"), "{said:?}");
    }
    assert_eq!(own.record().connections, 0);
}

#[tokio::test]
async fn an_address_of_this_machine_is_one_whatever_it_is_called() {
    let (nobody, listener) = next_door().await;
    let there = listener.local_addr().unwrap();
    serve_ok(listener);
    for other in ["127.0.0.1", "::1", "127.0.0.9"] {
        let named = SocketAddr::new(other.parse().unwrap(), there.port());
        let found = refused(nobody, Around { named: &[named], ..Around::default() }).await;
        assert!(found.is_none_or(|found| !found.sentence.contains(&there.to_string())), "{named} is the same app");
    }
}

/// Of another pool, under another name of this machine; or the port of another pool's checks.
#[tokio::test]
async fn an_app_of_another_pool_is_no_suggestion() {
    for other in
        ["upstreams = [\"localhost:PORT\"]", "upstreams = [\"127.0.0.1:1\"]\nhealth = { type = \"tcp\", port = PORT }"]
    {
        let (nobody, listener) = next_door().await;
        let port = listener.local_addr().unwrap().port();
        serve_ok(listener);
        let other = other.replace("PORT", &port.to_string());
        let proxy = Proxy::start(&format!(
            "errors.detail = \"full\"\n[pool.app]\nupstreams = [\"{nobody}\"]\nhealth.type = \"off\"\n[pool.other]\n{other}\n\
             [route.other]\npath = \"/other\"\npool = \"other\"\n[route.app]\npool = \"app\"\n"
        ));
        assert_eq!(get(&proxy, "/x").await.status, 502);
        let insight = insight(&proxy);
        insight.changes().wait_for(|looks| *looks > 0).await.unwrap();
        let found = insight.of(Asker::Traffic, Cause::ConnectionRefused, Instant::now());
        assert!(found.as_ref().is_none_or(|found| !found.sentence.contains(&port.to_string())), "{found:?}");
    }
}

#[tokio::test]
async fn a_full_queue_of_connections_on_this_machine_is_no_dead_host() {
    let (full, _held) = crate::support::full::full().await;
    let said = look(&endpoint(full), Cause::ConnectTimeout, &[]).await.unwrap();
    assert!(said.sentence.starts_with("That is this machine, so its host is up"), "{said:?}");
}

#[tokio::test]
async fn what_no_look_can_explain_gets_none() {
    let origin = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    for &cause in Cause::ALL {
        if !matches!(cause.row().fault, causeway::cause::Fault::Upstream | causeway::cause::Fault::Network) {
            let before = origin.record().connections;
            if cause != Cause::LoopDetected {
                assert!(look(&endpoint(origin.address()), cause, &[]).await.is_none(), "{cause}");
            }
            assert_eq!(origin.record().connections, before, "{cause}");
        }
    }
}
