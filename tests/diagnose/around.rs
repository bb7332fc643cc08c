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
async fn a_wrong_port_and_the_right_one_beside_it_are_one_sentence() {
    let ip = alone();
    let (port, listener) = loop {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let mut beside = listener.local_addr().unwrap();
        beside.set_port(beside.port() - 1);
        if let Ok(tls) = TcpListener::bind(beside).await {
            break (listener.local_addr().unwrap().port(), (listener, tls));
        }
    };
    let (app, tls) = listener;
    let address = tls.local_addr().unwrap();
    serve_ok(app);
    serve(tls, |said| {
        (if said.starts_with(b"\x16\x03") { b"\x16\x03\x03\x00\x04".to_vec() } else { Vec::new() }, false)
    });
    for (cause, start) in [(Cause::ClosedWithoutResponse, "It speaks TLS, but"), (Cause::SpeaksTls, "But")] {
        let said = plain(&look(&endpoint(address), cause, &[]).await.unwrap().sentence);
        assert_eq!(said, format!("{start} {ip}:{port} answers HTTP (200, N ms). Did you mean {port}?"));
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
