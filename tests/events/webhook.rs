//! `notify.url`: a POST for each change of an upstream, in plain HTTP or in TLS; what goes wrong with one is a line of
//! the log.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use causeway::config::certificate::provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{fail, run, run_with_env, switch};
use crate::support::process::{Causeway, PATIENCE};
use crate::support::tls_origin::{Authority, Pair};

/// The head and the body of one POST, which is answered.
fn take(stream: impl Read + Write, status: &str) -> (String, String) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let mut body = String::new();
    stream.read_line(&mut body).unwrap();
    write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    stream.get_mut().flush().unwrap();
    (head, body.trim_end().to_owned())
}

#[test]
fn a_webhook_gets_a_post_and_traffic_does_not_wait_for_it() {
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hook.local_addr().unwrap();
    let (mut causeway, listen, admin) = run(&format!("[notify]\nurl = \"http://{address}/hooks/a?b=c\"\n"));
    switch(admin, "draining");
    switch(admin, "enabled");
    let (first, _) = hook.accept().unwrap();
    fail(listen); // while the first has no answer
    for (stream, status) in [(Some(first), "204 No Content"), (None, "500 Oops")] {
        let (head, body) = take(stream.unwrap_or_else(|| hook.accept().unwrap().0), status);
        assert!(head.starts_with("POST /hooks/a?b=c HTTP/1.1\r\n"), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains(&format!("host: {address}\r\n")) && lower.contains("content-type: application/json\r\n")
        );
        assert_eq!(body, causeway.event("upstream_switched"));
    }
    assert!(causeway.event("notify_failed").contains("notify.url was not told of upstream_switched: it answered 500"));
}

/// The next connection, if there is one.
fn accepted(hook: &TcpListener) -> TcpStream {
    let begun = std::time::Instant::now();
    hook.set_nonblocking(true).unwrap();
    loop {
        if let Ok((stream, _)) = hook.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody came");
        std::thread::yield_now();
    }
}

/// What waits when `[notify]` changes goes to who is named from then on.
#[test]
fn what_waits_for_one_hook_goes_to_the_next() {
    let hooks = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [one, two] = hooks.each_ref().map(|hook| hook.local_addr().unwrap().to_string());
    let (mut causeway, _, admin) = run(&format!("[notify]\nurl = \"http://{one}/\"\n"));
    for state in ["draining", "enabled", "disabled"] {
        switch(admin, state);
    }
    // Who never answers has the first one.
    let _held = accepted(&hooks[0]);
    causeway.event("upstream_switched");
    let text = std::fs::read_to_string(causeway.folder().join("causeway.toml")).unwrap();
    causeway.write(&text.replace(&one, &two));
    let waiting = [causeway.event("upstream_switched"), causeway.event("upstream_switched")];
    causeway.signal(rustix::process::Signal::HUP);
    causeway.event("config_reloaded");
    for wanted in waiting {
        assert_eq!(take(accepted(&hooks[1]), "204 No Content").1, wanted);
    }
}

/// The server's side of a session, which offers HTTP/2 too, as those of the world do.
fn session(pair: &Pair) -> ServerConnection {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(pair.chain.clone(), pair.key.clone_key()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Causeway hands one change on to a server in TLS with this certificate, and believes this authority.
fn told(authority: &Authority, pair: &Pair) -> (Causeway, StreamOwned<ServerConnection, TcpStream>) {
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hooks/a?b=c", hook.local_addr().unwrap());
    let ca = authority.file();
    let env = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    let (causeway, _, admin) = run_with_env(&env, &format!("[notify]\nurl = \"{url}\"\n"));
    switch(admin, "draining");
    let (stream, _) = hook.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (causeway, StreamOwned::new(session(pair), stream))
}

#[test]
fn an_https_webhook_is_told_where_its_certificate_is_believed() {
    let authority = Authority::new();
    let (mut causeway, stream) = told(&authority, &authority.issue(&["127.0.0.1"], 2090));
    let address = stream.sock.local_addr().unwrap();
    let (head, body) = take(stream, "204 No Content");
    assert!(head.starts_with("POST /hooks/a?b=c HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&format!("host: {address}\r\n")), "{head}");
    assert_eq!(body, causeway.event("upstream_switched"));
}

/// By the rules of pools: for the name that is written, in its time, and signed by somebody who is believed.
#[test]
fn an_https_webhook_that_is_not_believed_is_told_nothing() {
    let authority = Authority::new();
    for (pair, said) in [
        (
            authority.issue(&["hooks.example"], 2090),
            "tls_cert_name: certificate for another name: it has hooks.example, and 127.0.0.1 was asked for",
        ),
        (authority.issue(&["127.0.0.1"], 2021), "tls_cert_expired: "),
        (authority.self_signed(&["127.0.0.1"]), "tls_cert_untrusted: "),
    ] {
        let (mut causeway, mut stream) = told(&authority, &pair);
        assert!(stream.read(&mut [0]).is_err(), "{said}");
        let line = causeway.event("notify_failed");
        assert!(line.contains(&format!("notify.url was not told of upstream_switched: {said}")), "{line}");
    }
}
