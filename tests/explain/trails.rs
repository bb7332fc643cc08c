//! What the admin address tells of a failed request: all that the client was told, and more.

use std::time::Instant;

use causeway::cause::{Cause, Finding};
use causeway::pool::insight::{Asker, Found};

use super::*;
use crate::support::origin::{Behaviour, Origin};

/// All that one says, the other says too: but for what time has changed.
fn contains(more: &Value, less: &Value, path: &str) {
    match (more, less) {
        (Value::Object(more), Value::Object(less)) => {
            for (name, value) in less {
                let own = more.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing"));
                contains(own, value, &format!("{path}.{name}"));
            }
        }
        (Value::Array(more), Value::Array(less)) => {
            assert_eq!(more.len(), less.len(), "{path}");
            more.iter().zip(less).for_each(|(more, less)| contains(more, less, path));
        }
        // That of the whole ends with the last byte of the answer.
        _ if path == ".elapsed_ms" => assert!(more.as_f64() >= less.as_f64(), "{path}"),
        _ => assert_eq!(more, less, "{path}"),
    }
}

/// As the file says, with an admin address.
fn from_file(text: &str) -> (Proxy, SocketAddr) {
    let proxy = Proxy::changed_file(text, |config| {
        config.admin = Some(ListenAddress::Exact(vec!["127.0.0.1:0".parse().unwrap()]));
    });
    let admin = proxy.server().admin_address().unwrap();
    (proxy, admin)
}

#[tokio::test]
async fn the_trail_is_what_the_client_was_told_and_more() {
    let (silent, reset) = (Origin::start(Behaviour::Silent).await, Origin::start(Behaviour::ResetBeforeHead).await);
    let upstreams = [Origin::nobody(), silent.address(), reset.address()];
    let (proxy, admin) = proxy(&upstreams, "balance = \"round_robin\"\ntimeouts.read = \"50ms\"\n");
    let fields =
        "Host: 127.0.0.1:PORT\r\nUser-Agent: test/1 \"x\"\r\n".replace("PORT", &proxy.address.port().to_string());
    let told = ask(proxy.address, "GET /orders?page=2", &fields).await;
    proxy.exchange(0).await;
    let told_text = ask(proxy.address, "GET /orders?page=2", &(fields + "Accept: text/plain\r\n")).await;
    proxy.exchange(1).await;
    let id = told.field("x-request-id").unwrap();
    let (trail, text) = trail(admin, &id[..8]).await;
    contains(&trail, &json(&told), "");
    assert_eq!(trail["request_id"], id);
    for (name, value) in [
        ("sequence", 1.into()),
        ("method", "GET".into()),
        ("uri", "/orders?page=2".into()),
        ("host", proxy.address.to_string().into()),
        ("client", "127.0.0.1".into()),
        ("listener", "main".into()),
        ("protocol", "h1".into()),
        ("user_agent", "test/1 \"x\"".into()),
        ("ended_by", "proxy".into()),
        ("bytes_in", 0.into()),
        ("bytes_out", told.body.len().into()),
        ("cut", false.into()),
        ("pool_size", 3.into()),
        ("attempts_omitted", 0.into()),
    ] as [(&str, Value); 14]
    {
        assert_eq!(trail[name], value, "{name} in {trail:#}");
    }
    assert!(trail["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{trail:#}");
    let attempts = trail["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        let refused = attempt["cause"] == "connection_refused";
        assert_eq!((attempt["reused"].as_bool(), attempt.get("connect_ms").is_some()), (Some(false), !refused));
        assert!(attempt["full_message"].as_str().is_some_and(|told| !told.is_empty()), "{attempt:#}");
        assert_eq!(attempt["state_now"], "ready");
    }

    // As text, of the one that was asked for as text.
    let id = told_text.field("x-request-id").unwrap();
    let (_, second) = super::trail(admin, id).await;
    tells_the_account_of(&second, &told_text.text());
    for part in [
        "\nThe request\n  Asked     GET /orders?page=2\n",
        "test/1 \"x\"",
        id,
        "nothing was sent",
        "a new connection in ",
    ] {
        assert!(second.contains(part), "{part}: {second}");
    }
    assert!(!second.contains("This answer comes from") && text != second);
    assert!(second.lines().all(|line| line.len() <= 80 || line.contains("curl ")), "{second}");
}

#[tokio::test]
async fn what_is_public_to_the_client_is_whole_for_the_operator() {
    let gone = Origin::nobody();
    let (proxy, admin) = proxy(&[gone], "[errors]\ndetail = \"public\"\n");
    let told = ask(proxy.address, "HEAD /secret", "").await;
    assert!(told.body.is_empty());
    proxy.exchange(0).await;
    let (trail, text) = trail(admin, told.field("x-request-id").unwrap()).await;
    assert_eq!(trail["attempts"][0]["upstream"], gone.to_string());
    assert!(trail["attempts"][0]["hint"].as_str().unwrap().contains(&gone.to_string()), "{trail:#}");
    assert!(text.contains(&format!("Nothing listens on {gone}.")) && text.contains("HEAD /secret"), "{text}");
}

#[tokio::test]
async fn a_miss_is_told_as_the_client_was() {
    let routes = "[route.api]\npath = \"/api\"\nmethods = [\"GET\", \"PUT\"]\n[errors]\ndetail = \"full\"\n";
    let (proxy, admin) = proxy(&[Origin::nobody()], routes);
    for (index, (line, status)) in [("GET /x", 404), ("POST /api", 405)].into_iter().enumerate() {
        let told = ask(proxy.address, line, "").await;
        assert_eq!(told.status, status);
        proxy.exchange(index).await;
        let (trail, text) = trail(admin, told.field("x-request-id").unwrap()).await;
        contains(&trail, &json(&told), "");
        assert!(text.starts_with(&status.to_string()), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_broke_off_is_told_as_such() {
    let origin = Origin::start(Behaviour::CutBody { sent: 100_000, of: 200_000, reset: false }).await;
    let (proxy, admin) = proxy(&[origin.address()], "");
    let id = format!("{:032x}", 7);
    let told = ask(proxy.address, "GET /long", &format!("X-Request-Id: {id}\r\n")).await;
    assert!(told.status == 200 && !told.complete);
    proxy.exchange(0).await;
    let list = json(&ask(admin, "GET /api/incidents", "").await);
    let row = &list["incidents"][0];
    assert_eq!((&row["status"], &row["cause"], &row["path"]), (&200.into(), &"truncated_body".into(), &"/long".into()));
    assert_ne!(row["id"], id, "nobody is believed who is not trusted");
    let (trail, text) = trail(admin, row["id"].as_str().unwrap()).await;
    assert_eq!((&trail["cut"], &trail["status"], &trail["title"]), (&true.into(), &200.into(), &Value::Null));
    let attempt = &trail["attempts"][0];
    assert!(attempt["head_ms"].is_number() && attempt["body_ms"].is_number(), "{trail:#}");
    assert!(text.starts_with("200 OK, then cut off: truncated_body\n"), "{text}");
    assert!(text.contains("100000 of the answer's body written"), "{text}");
}

#[tokio::test]
async fn an_answer_that_did_not_pass_stands_in_the_trail() {
    let (busy, gone) = (Origin::start(Behaviour::Status(503)).await, Origin::start(Behaviour::CloseBeforeHead).await);
    let keys = "balance = \"round_robin\"\ntimeouts.request = \"5s\"\nretry.on_status = [503]\n";
    let (proxy, admin) = proxy(&[busy.address(), gone.address()], keys);
    // The kept 503 passes: an app's own answer is no incident.
    let passed = ask(proxy.address, "GET /", "").await;
    assert_eq!(passed.status, 503);
    proxy.exchange(0).await;
    let answer = ask(admin, &format!("GET /api/incidents/{}", passed.field("x-request-id").unwrap()), "").await;
    let sentence = "No failed request has an id that begins with ";
    assert!(answer.status == 404 && answer.text().starts_with(sentence), "{answer:?}");
    assert!(answer.text().contains("None has failed since causeway was started."), "{answer:?}");
}

#[tokio::test]
async fn what_a_later_look_finds_is_told_with_it() {
    let (proxy, admin) = proxy(&[Origin::nobody()], "");
    let told = ask(proxy.address, "GET /", "").await;
    proxy.exchange(0).await;
    let sentence = "But port 3000 there answers HTTP. Did you mean 3000?";
    let finding = Finding::new(Cause::ConnectionRefused, sentence).write("upstreams = [\"127.0.0.1:3000\"]");
    let id = told.field("x-request-id").unwrap();
    let insight = &proxy.server().pools()[0].members()[0].insight;
    // The proxy takes a look of its own, once: its end comes first.
    insight.changes().wait_for(|looks| *looks > 0).await.unwrap();
    let question = insight.question(Asker::Traffic, finding.cause);
    insight.tell(&question, Some(Found { finding, gist: String::new(), until: None }), Instant::now());
    let (trail, text) = trail(admin, id).await;
    let attempt = &trail["attempts"][0];
    assert_eq!((&attempt["found_later"], &attempt["state_now"]), (&sentence.into(), &"ready".into()));
    assert_eq!(attempt["write"], "upstreams = [\"127.0.0.1:3000\"]");
    assert!(text.contains(&format!("     Found since then: {sentence}\n       upstreams = [")), "{text}");
}

#[tokio::test]
async fn the_same_id_twice_is_two_incidents_the_newest_first() {
    let text = format!(
        "trusted_proxies = [\"127.0.0.0/8\"]\n[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n",
        Origin::nobody()
    );
    let (proxy, admin) = from_file(&text);
    for index in 0..12 {
        ask(proxy.address, &format!("GET /{index}"), "X-Request-Id: chosen-by-a-peer\r\n").await;
        proxy.exchange(index).await;
    }
    let (trail, text) = trail(admin, "chosen-by").await;
    let earlier = trail["earlier"].as_array().unwrap();
    let sequences: Vec<_> = [&trail].into_iter().chain(earlier).map(|one| one["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=12).rev().collect::<Vec<_>>());
    assert!(earlier[8]["uri"] == "/2" && earlier[9].get("uri").is_none() && earlier[10]["path"] == "/0");
    assert!(text.contains("---- 10 of 12 with this id") && text.contains("---- earlier still ----"), "{text}");
}

/// A request that comes before the first result of a check waits for it: the trail says so, or nobody could tell where
/// the time went.
#[tokio::test]
async fn a_wait_for_the_first_check_is_named() {
    let silent = Origin::start(Behaviour::Silent).await;
    let (proxy, admin) = from_file(&format!(
        "[pool.app]\nupstreams = [\"{}\"]\nhealth.path = \"/h\"\nhealth.timeout = \"700ms\"\ntimeouts.read = \"50ms\"\n",
        silent.address()
    ));
    let told = ask(proxy.address, "GET /", "").await;
    proxy.exchange(0).await;
    let (trail, text) = trail(admin, told.field("x-request-id").unwrap()).await;
    let waited = trail["first_check_ms"].as_f64().unwrap();
    let (whole, attempt) =
        (trail["elapsed_ms"].as_f64().unwrap(), trail["attempts"][0]["elapsed_ms"].as_f64().unwrap());
    assert!(waited > 100.0 && (whole - waited - attempt).abs() < 100.0, "{trail:#}");
    assert_eq!((&trail["queued_ms"], &trail["waited_ms"]), (&0.0.into(), &0.0.into()));
    let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("for the first result of a health check (health.timeout at the most) Bytes"), "{text}");
}

/// An id is whatever a trusted peer sent (CONTRACT §4): each can be asked for, as it is, in part, or percent-encoded,
/// and none of them is taken for something else.
#[tokio::test]
async fn ids_of_trusted_peers_can_be_asked_for() {
    let text = format!(
        "trusted_proxies = [\"127.0.0.0/8\"]\n[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n",
        Origin::nobody()
    );
    let (proxy, admin) = from_file(&text);
    let longest = "L".repeat(128);
    let kept =
        ["........", "-.-.-.-.", "..-..-..", "limit=10", "read_timeout", "abcdefgh", "abcdefghi", "0.0.0.0_", &longest];
    for (index, id) in kept.iter().enumerate() {
        ask(proxy.address, "GET /", &format!("X-Request-Id: {id}\r\n")).await;
        proxy.exchange(index).await;
    }
    for id in kept.into_iter().filter(|id| !id.contains('=')) {
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for asked in [id, &*encoded] {
            let (trail, text) = trail(admin, asked).await;
            assert_eq!((&trail["request_id"], trail.get("earlier")), (&id.into(), None), "{asked}");
            assert!(text.contains(id), "{text}");
        }
    }
    let (begins, _) = trail(admin, "LLLLLLLL").await;
    assert_eq!(begins["request_id"], longest);
    // What is no id in the first place was replaced by one of ours, and finds nobody.
    for (asked, word) in [
        ("limit=10", "begins with limit=10."),
        ("%61%62%63", "At least 8 characters"),
        ("%ff%fe%fd%fc%fb%fa%f9%f8", "begins with "),
        ("%0d%0aX-Evil:%201", "begins with "),
        ("abcdefgh%", "begins with abcdefgh%."),
        ("abcdefghij", "begins with abcdefghij."),
        ("../../metrics", "begins with ../../metrics."),
        (&"x".repeat(4000), "..."),
    ] {
        let answer = ask(admin, &format!("GET /api/incidents/{asked}"), "").await;
        let said = answer.text();
        assert_eq!((answer.status, answer.field("x-evil")), (404, None), "{asked}: {answer:?}");
        assert!(
            said.contains(word) && said.is_ascii() && said.lines().count() == 1 && said.len() < 800,
            "{asked}: {said}"
        );
    }
}

#[tokio::test]
async fn the_list_is_the_newest_first_and_can_be_narrowed() {
    let (proxy, admin) = proxy(&[Origin::nobody()], "[route.api]\npath = \"/api\"\n");
    for (index, line) in ["GET /api/a?secret=1", "GET /x", "POST /api/b"].into_iter().enumerate() {
        ask(proxy.address, line, "Host: shop.example\r\n").await;
        proxy.exchange(index).await;
    }
    let list = async |query: &str| json(&ask(admin, &format!("GET /api/incidents{query}"), "").await);
    let all = list("").await;
    assert_eq!((&all["kept"], &all["recorded"]), (&3.into(), &3.into()));
    assert!(all["since"].as_str().unwrap().ends_with('Z'));
    let paths =
        |list: &Value| list["incidents"].as_array().unwrap().iter().map(|row| row["path"].clone()).collect::<Vec<_>>();
    assert_eq!(paths(&all), ["/api/b", "/x", "/api/a"]);
    let row = &all["incidents"][2];
    for (name, value) in [("method", "GET"), ("host", "shop.example"), ("route", "api"), ("pool", "app")] {
        assert_eq!(row[name], value);
    }
    assert!(row["summary"].as_str().unwrap().ends_with(" connection_refused") && row["status"] == 502, "{row:#}");
    assert_eq!(paths(&list("?limit=1").await), ["/api/b"]);
    assert_eq!(paths(&list("?cause=no_route").await), ["/x"]);
    assert_eq!(paths(&list("?cause=connection_refused&limit=1&_=3").await), ["/api/b"]);
    assert_eq!(paths(&list("?pool=app").await), ["/api/b", "/api/a"]);
    for (query, status, part) in [
        ("limit=0", 400, "from 1 to 1200"),
        ("limit=many", 400, "from 1 to 1200"),
        ("cause=nonsense%1b", 400, "No cause is called nonsense\\x1b."),
        ("pool=nobody", 404, "There is no pool nobody. Known here: app."),
    ] {
        let answer = ask(admin, &format!("GET /api/incidents?{query}"), "").await;
        assert!(answer.status == status && answer.text().contains(part), "{answer:?}");
    }
}

#[tokio::test]
async fn no_page_of_another_site_may_read_them() {
    let (proxy, admin) = proxy(&[Origin::nobody()], "");
    let told = ask(proxy.address, "GET /", "").await;
    proxy.exchange(0).await;
    let id = told.field("x-request-id").unwrap();
    for path in ["/api/incidents".to_owned(), format!("/api/incidents/{id}")] {
        for fields in
            ["Host: rebound.example:9901\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: http://evil.example\r\n"]
        {
            let answer = ask(admin, &format!("GET {path}"), fields).await;
            assert!(answer.status == 403 && !answer.text().contains("connection_refused"), "{fields}: {answer:?}");
        }
        let own = ask(admin, &format!("GET {path}"), "Host: localhost:9901\r\nSec-Fetch-Site: none\r\n").await;
        assert_eq!((own.status, own.field("x-content-type-options")), (200, Some("nosniff")));
        assert_eq!(ask(admin, &format!("POST {path}"), "").await.status, 405);
    }
}

#[tokio::test]
async fn what_a_hostile_client_and_upstream_send_is_only_text() {
    let origin = Origin::start(Behaviour::Greets(b"\x1b[31m<script>\xc2\x9b\r\n\r\n".to_vec())).await;
    let (proxy, admin) = proxy(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client
        .send(
            b"GET /%1b?\"'<b> HTTP/1.1\r\nHost: a\r\nUser-Agent: \xc2\x9b31m\x7f<script>\r\nConnection: close\r\n\r\n",
        )
        .await;
    let told = client.response().await;
    proxy.exchange(0).await;
    let list = ask(admin, "GET /api/incidents", "").await;
    let id = json(&list)["incidents"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(told.field("x-request-id"), Some(&*id));
    assert!(list.text().bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')), "{}", list.text());
    let raw = ask(admin, &format!("GET /api/incidents/{id}"), "").await;
    assert!(raw.text().bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')), "{}", raw.text());
    trail(admin, &id).await;
}
