//! `GET /api/status`: it says what happened.

use super::*;
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn it_says_what_happened() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let nobody = Origin::nobody();
    let config = pool(&[nobody, origin.address()], "balance = \"round_robin\"\npassive.evict = \"60s\"")
        + "[route.app]\npool = \"app\"\n[route.down]\npath = \"/down\"\npool = \"down\"\n"
        + &format!("[pool.down]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n", Origin::nobody());
    let (proxy, admin) = looked_into(&config);
    let mut asked = 0;
    for target in ["/"].repeat(20).into_iter().chain(["/down"].repeat(3)) {
        Raw::connect(proxy.address).await.get(target).await;
        asked += 1;
    }
    proxy.exchange(asked - 1).await;
    let status = document(admin, "/api/status").await;
    assert_eq!(
        (&status["name"], &status["state"], &status["workers"]),
        (&"causeway".into(), &"serving".into(), &2.into())
    );
    assert!(status.get("config").is_none(), "there is no file");
    assert_eq!(status["listeners"][0]["addresses"][0], proxy.address.to_string());
    assert_eq!((&status["requests"]["total"], &status["requests"]["in_flight"]), (&23.into(), &0.into()));
    assert!(status["requests"]["per_second"].as_f64().unwrap() > 0.0);
    let rescued = status["pools"][0]["last"]["rescued"].as_u64().unwrap();
    assert!(rescued >= 3, "{status:#}");
    assert_eq!((&status["last"]["failed"], &status["last"]["rescued"]), (&3.into(), &rescued.into()));
    let error = &status["last"]["errors"][0];
    assert_eq!((&error["pool"], &error["code"], &error["count"]), (&"down".into(), &502.into(), &3.into()));
    assert_eq!((&error["cause"], &error["total"]), (&"connection_refused".into(), &3.into()));
    let app = &status["pools"][0];
    assert_eq!((&app["name"], &app["balance"], &app["usable"]), (&"app".into(), &"round_robin".into(), &1.into()));
    let (gone, here) = (&app["upstreams"][0], &app["upstreams"][1]);
    assert_eq!((&gone["upstream"], &gone["state"]), (&nobody.to_string().into(), &"evicted".into()));
    assert_eq!((&gone["by"], &gone["cause"]), (&"traffic".into(), &"connection_refused".into()));
    let message = gone["message"].as_str().unwrap();
    assert!(message.starts_with("Nothing listens on ") && gone["ends_in_ms"].as_u64().unwrap() > 10_000, "{gone:#}");
    assert!(gone["failures"]["connection_refused"].as_u64().unwrap() >= 3);
    assert_eq!((&here["state"], &here["requests_total"]), (&"ready".into(), &20.into()));
    assert!(here["p50_ms"].as_f64().is_some() && here["p99_ms"].as_f64().is_some(), "{here:#}");
    assert!(here.get("cause").is_none() && here.get("limit").is_none());
}

#[tokio::test]
async fn the_config_in_force_is_shown_without_secrets() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let folder = tempfile::TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret-s3cret-s3cret\n").unwrap();
    let (_proxy, admin) = looked_into(&format!(
        "admin.token_file = \"{}\"\n[pool.app]\nupstreams = [\"{}\"]\nhealth.path = \"/h\"\nhealth.headers = {{ Authorization = \"s3cret\" }}\n",
        token.display(),
        origin.address()
    ));
    let config = document(admin, "/api/config").await;
    assert!(!config.to_string().contains("s3cret"), "{config:#}");
    assert_eq!(config["admin"]["token_file"], token.display().to_string());
    assert_eq!(config["pool"]["app"]["timeouts"]["read"], "60s");
    assert_eq!(
        config["pool"]["app"]["connections"]["max_idle"], 128,
        "as it was said, whatever each worker gets of it"
    );
    // A wrong token is told of, also from here; the right one and none are taken.
    let state = format!("/api/pools/app/upstreams/{}/state", origin.address());
    for (fields, status) in [
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Bearer s3cret-s3cret-s3cret\r\n", 200),
        ("", 200),
        ("Authorization: Bearer s3cret-s3cret-s3cret\r\nOrigin: http://evil.example\r\n", 403),
    ] {
        let answer = ask(admin, "PUT", &state, fields, "{\"state\":\"enabled\"}").await;
        assert_eq!(answer.status, status, "{fields}: {}", answer.text());
        assert_eq!(answer.field("www-authenticate"), (status == 401).then_some("Bearer"));
    }
}

/// What is not asked for in vain is no line; what is has one, in the document and in the table.
#[tokio::test]
async fn a_name_that_cannot_be_had_is_shown_while_its_addresses_serve() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let dns = crate::names::dns::Dns::start().await;
    dns.a("app.test", 0, &[1]);
    let name = format!("app.test:{}", origin.address().port());
    let config = format!("[pool.app]\nupstreams = [\"{name}\"]\n[pool.app.health]\ninterval = \"200ms\"\n");
    let (proxy, admin) = looked_into(&format!("name_servers = [\"{}\"]\n{config}", dns.at));
    proxy.until(0, causeway::health::State::Ready).await;
    assert_eq!(document(admin, "/api/status").await["pools"][0].get("stale"), None);
    dns.forget("app.test");
    let pool = std::sync::Arc::clone(&proxy.server().pools()[0]);
    let mut changes = pool.changes();
    while pool.stale.all().is_empty() {
        changes.changed().await.unwrap();
    }
    let answer = ask(admin, "GET", "/api/status", "", "").await;
    let openapi: Value = serde_json::from_str(&crate::support::source::read("config/openapi.json")).unwrap();
    openapi::assert_documented(&openapi, &openapi["paths"]["/api/status"]["get"], "GET /api/status", &answer);
    let stale = &document(admin, "/api/status").await["pools"][0]["stale"][0];
    assert_eq!((&stale["source"], &stale["kept"]), (&name.as_str().into(), &1.into()), "{stale:#}");
    assert_eq!((&stale["cause"], stale["held_ms"].is_u64()), (&"dns_not_found".into(), true), "{stale:#}");
    let out = causeway(admin, &["status"]).await;
    let table = text(&out.stdout);
    assert!(table.contains(&format!("\n  {name}, for 0s: dns_not_found. The name in ")), "{table}");
    assert!(table.lines().all(|line| line.len() <= 80) && out.status.success(), "{table}");
}
