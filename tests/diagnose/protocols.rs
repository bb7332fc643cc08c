//! A port that speaks TLS or HTTP/2 is the right one, spoken to in the wrong way: that is the cure, whatever else
//! answers nearby.

use super::*;

/// What nginx, Apache and Go answer to plain HTTP on a port of TLS, in their own words.
const WORDS: [&str; 3] = [
    "The plain HTTP request was sent to HTTPS port",
    "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    "Client sent an HTTP request to an HTTPS server.",
];
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";

/// A port of TLS that is polite to those who speak plain HTTP.
fn serve_tls(listener: TcpListener, status: u16, words: &'static str) {
    serve(listener, move |said| {
        let refusal = format!("HTTP/1.1 {status} Bad Request\r\nContent-Length: {}\r\n\r\n{words}", words.len());
        (if said.starts_with(b"\x16\x03") { ALERT.to_vec() } else { refusal.into_bytes() }, false)
    });
}

async fn tls(status: u16, words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve_tls(listener, status, words);
    address
}

/// Two ports at an address of their own, the second one beside the first.
async fn beside() -> (TcpListener, TcpListener) {
    let ip = alone();
    loop {
        let second = TcpListener::bind((ip, 0)).await.unwrap();
        let mut at = second.local_addr().unwrap();
        at.set_port(at.port() - 1);
        if let Ok(first) = TcpListener::bind(at).await {
            return (first, second);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_answers_nothing_but_400_and_speaks_tls() {
    for words in WORDS {
        let address = tls(400, words).await;
        let proxy = proxy(address);
        assert_eq!(get(&proxy, "/").await.status, 400, "an answer of the app is passed on");
        let said = found(&proxy, Cause::SpeaksTls).await;
        assert_eq!(said.sentence, format!("Write \"https://{address}\" in upstreams."));
        assert_eq!(said.write, Some(format!("upstreams = [\"https://{address}\"]")));
    }
}

#[tokio::test]
async fn an_app_that_refuses_a_request_speaks_no_tls() {
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |_| (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), false));
    let proxy = proxy(address);
    let insight = insight(&proxy);
    let mut looks = insight.changes();
    assert_eq!(get(&proxy, "/").await.status, 400);
    tokio::time::timeout(Duration::from_secs(20), looks.wait_for(|looks| *looks > 0)).await.unwrap().unwrap();
    assert!(insight.of(Asker::Traffic, Cause::SpeaksTls, Instant::now()).is_none());
}

#[tokio::test]
async fn a_check_that_gets_400_from_a_port_of_tls() {
    let address = tls(400, WORDS[0]).await;
    let proxy = Proxy::start(&format!(
        "errors.detail = \"full\"\n[pool.app]\nupstreams = [\"{address}\"]\nwhen_all_evicted = \"fail\"\n\
         health = {{ path = \"/healthz\", interval = \"50ms\", timeout = \"2s\" }}\n"
    ));
    proxy.until(0, State::Evicted).await;
    let of = |insight: &Insight| insight.of(Asker::Check, Cause::HealthStatus, Instant::now());
    let said = until(&insight(&proxy), of).await.expect("a look has ended");
    let cure = format!("It speaks TLS on this port: write \"https://{address}\" in upstreams.");
    assert_eq!(said.sentence, cure);
    let told = get(&proxy, "/").await.text();
    assert!(told.contains("/healthz gives 400") && told.contains(&cure.replace('"', "\\\"")), "{told}");
}

#[tokio::test]
async fn a_late_answer_that_would_be_400_is_of_tls() {
    let address = tls(400, WORDS[2]).await;
    let said = look(&endpoint(address), Cause::ReadTimeout, &[]).await.unwrap().sentence;
    assert_eq!(said, format!("It speaks TLS on this port: write \"https://{address}\" in upstreams."));
}

#[tokio::test]
async fn a_port_with_a_cure_keeps_it_whatever_answers_next_door() {
    let h2 =
        |said: &[u8]| (if said.starts_with(b"PRI") { b"\0\0\0\x04\0\0\0\0\0".to_vec() } else { Vec::new() }, false);
    for (scheme, causes) in [
        ("https", [Cause::SpeaksTls, Cause::ClosedWithoutResponse, Cause::NotHttp]),
        ("h2c", [Cause::SpeaksH2, Cause::ClosedWithoutResponse, Cause::NotHttp]),
    ] {
        let (port, app) = beside().await;
        let (address, next_door) = (port.local_addr().unwrap(), app.local_addr().unwrap());
        serve_ok(app);
        match scheme {
            "h2c" => serve(port, h2),
            _ => serve_tls(port, 400, WORDS[0]),
        }
        for cause in causes {
            let found = look(&endpoint(address), cause, &[]).await.unwrap();
            let said = plain(&found.sentence);
            let cure = format!("rite \"{scheme}://{address}\" in upstreams.");
            let or = format!(" Or did you mean {}? {next_door} answers plain HTTP (200, N ms).", next_door.port());
            assert!(said.ends_with(&format!("{cure}{or}")), "{cause}: {said}");
            assert_eq!(found.write, Some(format!("upstreams = [\"{scheme}://{address}\"]")));
        }
    }
}

/// From the first 502 on, and not only in that.
#[tokio::test]
async fn an_app_of_http2_alone_is_told_of_h2c_each_time() {
    let (port, app) = beside().await;
    let address = port.local_addr().unwrap();
    serve_ok(app);
    serve(port, |_| (b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01".to_vec(), false));
    let proxy = proxy(address);
    let told = || async {
        let body: Value = serde_json::from_str(&get(&proxy, "/x").await.text()).unwrap();
        body["attempts"][0]["hint"].as_str().unwrap_or_default().to_owned()
    };
    let cure = format!("causeway spoke HTTP/1.1. Write \"h2c://{address}\" in upstreams.");
    assert!(told().await.ends_with(&cure));
    found(&proxy, Cause::SpeaksH2).await;
    let said = told().await;
    assert!(said.contains(&format!("{cure} Or did you mean")), "{said}");
}

/// Who is told to speak TLS or HTTP/2 to it meets an app that does neither.
#[tokio::test]
async fn an_app_of_plain_http_that_is_spoken_to_in_another_way() {
    use causeway::config::address::Scheme;
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve_ok(listener);
    for (scheme, cause) in [(Scheme::H2c, Cause::H2ProtocolError), (Scheme::Https, Cause::ClosedWithoutResponse)] {
        let said = look(&endpoint(address).speaking(scheme), cause, &[]).await.unwrap().sentence;
        let wanted = format!(
            "It answers HTTP/1.1 (200, N ms) on this port, without TLS and HTTP/2: write \"{address}\" in upstreams."
        );
        assert_eq!(plain(&said), wanted);
    }
    let address = tls(400, WORDS[0]).await;
    let right = endpoint(address).speaking(Scheme::Https);
    for cause in [Cause::ReadTimeout, Cause::SpeaksTls, Cause::HealthStatus] {
        assert!(look(&right, cause, &[]).await.is_none(), "{cause}: that is how it is spoken to");
    }
}

/// nginx: `return 444`.
#[tokio::test]
async fn an_app_that_drops_what_has_another_host() {
    let listener = TcpListener::bind((alone(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, move |said| {
        let own = format!("\r\nHost: {address}\r\n");
        let known = said.windows(own.len()).any(|part| part.eq_ignore_ascii_case(own.as_bytes()));
        (if known { OK.to_vec() } else { Vec::new() }, false)
    });
    let proxy = proxy(address);
    let said = plain(&hint(&proxy, Cause::ClosedWithoutResponse).await);
    let wanted = "But a new GET / gives 200 in N ms with its own address as Host, and ends the same way with Host test: it is the \
                  Host that it does not take. Let the app take that name, or set host_header = \"upstream\" in its pool.";
    assert!(said.ends_with(wanted), "{said}");
    let cured = Proxy::with("", &[address], "host_header = \"upstream\"\n");
    assert_eq!(get(&cured, "/x").await.status, 200);
}

/// `causeway probe` tries TLS where it gets 400, asked by hand or by the check of a pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_says_what_is_behind_a_400() {
    let address = tls(400, "Bad Request").await;
    let check = format!("[pool.app]\nupstreams = [\"{address}\"]\nhealth.path = \"/healthz\"\n");
    let file = std::env::temp_dir().join(format!("causeway-probe-{}.toml", address.port()));
    std::fs::write(&file, check).unwrap();
    for words in [vec![address.to_string()], vec!["app".to_owned()]] {
        let mut probe = std::process::Command::new(env!("CARGO_BIN_EXE_causeway"));
        let output = probe.args(["probe", "--config"]).arg(&file).args(words).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("speaks_tls: it speaks TLS on this port"), "{told}");
        assert!(told.contains(&format!("Write \"https://{address}\" in upstreams.")), "{told}");
    }
    std::fs::remove_file(file).unwrap();
}
