//! `causeway probe` at apps that answer by Host, as nginx does with several `server_name`s.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Serves these names, without a port; what other names get: an answer, or (empty) a closed connection.
async fn serves(names: &'static [&'static str], others: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase();
                let host = asked.split("\r\nhost: ").nth(1).unwrap_or("").split(['\r', ':']).next().unwrap_or("");
                let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(if names.contains(&host) { ok } else { others }.as_bytes()).await;
            });
        }
    });
    at
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const ELSEWHERE: &str =
    "HTTP/1.1 301 Moved\r\nLocation: https://shop.example/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Of this config, on one line.
fn probe(words: &[&str], config: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("causeway.toml"), config).unwrap();
    let out = causeway(&[&["probe"], words].concat()).current_dir(&folder).output().unwrap();
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(said.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{said:?}");
    (out.status.code().unwrap(), said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn pool(at: &str, more: &str) -> String {
    format!("[pool.app]\nupstreams = [\"{at}\"]\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_fails_for_its_host_alone_is_told_so() {
    let said = "The check sends the upstream's address as Host and gets";
    let set = "set health.host_header = \"shop.example\".";
    for (others, got) in [(NOT_FOUND, "404"), (ELSEWHERE, "301"), ("", "no answer")] {
        if others == ELSEWHERE {
            continue; // 301 passes by default
        }
        let at = serves(&["shop.example"], others).await;
        let literal = pool(&at, "host_header = \"shop.example\"\nhealth.path = \"/healthz\"\n");
        let (code, told) = probe(&[], &literal);
        let whole = format!("{said} {got}. With shop.example, the Host of all requests, it passes (200): {set}");
        assert!(code == 1 && told.contains(&whole), "{told}");
        assert!(!told.contains("has no /healthz"), "{told}");
        // What it says to set is the cure.
        let (code, told) = probe(&["--set", "pool.app.health.host_header=shop.example"], &literal);
        assert!(code == 0 && told.contains("1 of 1 usable") && !told.contains(said), "{told}");
        // A host of its route serves as well where clients' own is kept.
        let by_route = "health.path = \"/healthz\"\n[route.shop]\nhosts = [\"shop.example\"]\n";
        let (code, told) = probe(&[], &pool(&at, by_route));
        assert!(code == 1 && told.contains("a host of its route, it passes (200)") && told.contains(set), "{told}");
    }
    let at = serves(&["shop.example"], ELSEWHERE).await;
    let strict = "host_header = \"shop.example\"\nhealth = { path = \"/healthz\", expect_status = \"200\" }\n";
    let (code, told) = probe(&[], &pool(&at, strict));
    assert!(code == 1 && told.contains(&format!("{said} 301.")) && told.contains(set), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_missing_under_every_name_is_missing() {
    let at = serves(&[], NOT_FOUND).await;
    let literal = "host_header = \"shop.example\"\nhealth.path = \"/healthz\"\n";
    let (code, told) = probe(&[], &pool(&at, literal));
    assert!(code == 1 && told.contains("404: the app answers, but has no /healthz."), "{told}");
    assert!(!told.contains("health.host_header"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_finds_that_a_host_without_an_answer_is_why() {
    // Its own address gets nothing, as from nginx with `return 444` for names that it does not have.
    let at = serves(&["shop.example"], "").await;
    let route = "[route.shop]\nhosts = [\"shop.example\"]\n";
    let (code, told) = probe(&["--deep"], &pool(&at, route));
    assert!(code == 1 && told.contains("closed_without_response"), "{told}");
    assert!(told.contains(&format!("200 for Host: shop.example, no answer for {at}")), "{told}");
    assert!(told.contains("a health check with a path needs health.host_header = \"shop.example\"."), "{told}");
    let (_, told) = probe(&["--deep"], &pool(&at, &format!("host_header = \"upstream\"\n{route}")));
    assert!(told.contains("set that to \"client\", or to a name that it serves."), "{told}");
    let (_, told) = probe(&["--deep"], &pool(&at, ""));
    assert!(told.contains("no answer for Host: localhost:") && told.contains(" or client.example either"), "{told}");
    assert!(told.contains(&format!("with a name that it serves: curl -i -H 'Host: NAME' http://{at}/")), "{told}");
    // What the check found, nobody has to find again; and what it asks with may be what is wrong.
    let checked = "host_header = \"shop.example\"\nhealth.path = \"/up\"\n";
    let (code, told) = probe(&["--deep"], &pool(&at, checked));
    assert!(
        code == 1 && told.contains("set health.host_header = \"shop.example\".") && !told.contains(" either"),
        "{told}"
    );
    let checked = checked.replace("health.path", "health.host_header = \"old.example\"\nhealth.path");
    let (code, told) = probe(&["--deep"], &pool(&at, &checked));
    assert!(
        code == 1 && told.contains("nothing for old.example, 200 for shop.example. Set health.host_header ="),
        "{told}"
    );

    // The other way round: what the config gives it is what it does not know.
    let at = serves(&["127.0.0.1"], "").await;
    let (code, told) = probe(&["--deep"], &pool(&at, "host_header = \"shop.example\"\n"));
    assert!(code == 1 && told.contains("set host_header = \"upstream\"."), "{told}");
    let (code, told) = probe(&["--deep"], &pool(&at, route));
    assert!(
        code == 0 && told.contains("shop.example gets no answer") && told.contains("host_header = \"upstream\""),
        "{told}"
    );
    // A check may have its own name and pass.
    let checked = "host_header = \"shop.example\"\nhealth = { path = \"/\", host_header = \"127.0.0.1\" }\n";
    let (code, told) = probe(&["--deep"], &pool(&at, checked));
    assert!(code == 0 && told.contains("set host_header = \"upstream\"."), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_no_websocket() {
    for (upgrade, shown) in [("Upgrade: h2c\r\n", "101 to h2c, and a WebSocket"), ("", "101 to nothing, and")] {
        let switches = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}\r\n");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                let is_upgrade = String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase().contains("\r\nupgrade: ");
                let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(if is_upgrade { &switches } else { ok }.as_bytes()).await;
            }
        });
        let (code, told) = probe(&[], &pool(&at, ""));
        assert!(code == 0 && told.contains(shown) && !told.contains("speaks WebSocket"), "{told}");
    }
}
