//! How long a stream may be silent, and how it ends on either side.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A stream that has begun, on both sides of the proxy.
async fn begun(app: &App, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let mut client = plain(proxy).await;
    client.write_all(GET).await.unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, &format!("{SSE}{CHUNKED}\r\n{}", chunk("data: 1\n\n"))).await;
    until(&mut client, "data: 1\n\n\r\n").await;
    (client, server)
}

/// All that still comes; an error is an end without a goodbye.
async fn rest(client: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let clean = timeout(LONG, client.read_to_end(&mut all)).await.unwrap().is_ok();
    (all, clean)
}

#[tokio::test]
async fn silence_is_allowed_up_to_timeouts_body_and_no_longer() {
    let app = App::start().await;
    // Neither the clock of heads nor that of short answers has a word in it.
    let proxy = app.proxy("", "timeouts = { read = \"100ms\", body = \"600ms\" }\n");
    let (mut client, mut server) = begun(&app, &proxy).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        say(&mut server, &chunk(": alive\n\n")).await;
        until(&mut client, ": alive\n\n\r\n").await;
    }
    let (rest, _) = rest(&mut client).await;
    assert!(rest.is_empty(), "no last chunk: {:?}", String::from_utf8_lossy(&rest));
    assert_eq!(proxy.exchange(0).await.cause, Some("body_timeout"));
    assert_eq!(timeout(LONG, server.read(&mut [0])).await.unwrap().unwrap_or(0), 0, "the app hears of it");
}

/// Over HTTP/1.1, TLS and HTTP/2, and before the head too: work that nobody waits for ends at once.
#[tokio::test]
async fn a_client_that_leaves_ends_the_apps_work() {
    let (app, secure) = (App::start().await, Secure::new());
    let (proxy, behind_tls) = (app.proxy("", ""), app.proxy(&secure.listener(), ""));
    let gone = async |mut server: TcpStream| {
        let end = timeout(Duration::from_secs(5), server.read(&mut [0])).await.expect("it hears of it");
        assert_eq!(end.unwrap_or(0), 0);
    };
    let (client, server) = begun(&app, &proxy).await;
    drop(client);
    gone(server).await;
    assert_eq!(proxy.exchange(0).await.cause, Some("client_closed"));
    // While it is still thinking.
    let mut client = plain(&proxy).await;
    client.write_all(GET).await.unwrap();
    let (server, _) = app.asked().await;
    drop(client);
    gone(server).await;
    let mut client = secure.connect(&behind_tls, &[]).await;
    client.write_all(GET).await.unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, &format!("{SSE}{CHUNKED}\r\n{}", chunk("data: 1\n\n"))).await;
    until(&mut client, "data: 1\n\n\r\n").await;
    drop(client);
    gone(server).await;
    // One stream of a connection that lives on.
    let stream = secure.connect(&behind_tls, &["h2"]).await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (answer, _) = send.send_request(http::Request::get("https://a.test/").body(()).unwrap(), true).unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, &format!("{SSE}{CHUNKED}\r\n{}", chunk("data: 1\n\n"))).await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(timeout(LONG, body.data()).await.unwrap().unwrap().unwrap(), "data: 1\n\n");
    drop(body);
    gone(server).await;
}

#[tokio::test]
async fn an_app_that_dies_in_mid_stream_is_seen_to() {
    let (app, secure) = (App::start().await, Secure::new());
    let proxy = app.proxy("", "");
    for reset in [false, true] {
        let (mut client, server) = begun(&app, &proxy).await;
        if reset {
            socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(server);
        let (rest, _) = rest(&mut client).await;
        assert!(rest.is_empty(), "no last chunk: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(proxy.exchange(usize::from(reset)).await.cause, Some("truncated_body"));
    }
    let proxy = app.proxy(&secure.listener(), "");
    let stream = secure.connect(&proxy, &["h2"]).await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (answer, _) = send.send_request(http::Request::get("https://a.test/").body(()).unwrap(), true).unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, &format!("{SSE}{CHUNKED}\r\n{}", chunk("data: 1\n\n"))).await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(timeout(LONG, body.data()).await.unwrap().unwrap().unwrap(), "data: 1\n\n");
    drop(server);
    let end = timeout(LONG, body.data()).await.unwrap();
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
}
