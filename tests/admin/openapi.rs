//! `/openapi.json` is walked path by path: what it documents is answered as it says, and nothing else is answered.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::support::origin::{Behaviour, Origin};
use crate::support::{schema, source};

/// A body for a method that takes one, and what a path's places are filled with.
fn filled(path: &str, upstream: &str, incident: &str) -> String {
    path.replace("{pool}", "app").replace("{upstream}", upstream).replace("{id}", incident)
}

/// An answer has a documented status and content type, and its body is as its schema says.
pub fn assert_documented(openapi: &Value, operation: &Value, what: &str, answer: &Response) {
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{what}: {} is not documented\n{}", answer.status, answer.text());
    let kind = answer.field("content-type").unwrap_or_else(|| panic!("{what}: no content type"));
    let content = &documented["content"][kind];
    assert!(content.is_object(), "{what}: {} as {kind} is not documented", answer.status);
    if kind == "application/json"
        && let Some(wanted) = content.get("schema").filter(|_| !answer.body.is_empty())
    {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let wrong = schema::wrong(openapi, wanted, &body, "");
        assert!(wrong.is_empty(), "{what}:\n{}\n{body:#}", wrong.join("\n"));
    }
}

#[tokio::test]
async fn every_path_is_answered_as_documented() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let config = pool(&[Origin::nobody(), origin.address()], "balance = \"round_robin\"")
        + "[route.app]\npool = \"app\"\n[route.down]\npath = \"/down\"\npool = \"down\"\n"
        + &format!("[pool.down]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n", Origin::nobody());
    let (proxy, admin) = looked_into(&config);
    for _ in 0..4 {
        Raw::connect(proxy.address).await.get("/").await;
    }
    let failed = Raw::connect(proxy.address).await.get("/down").await;
    let incident = failed.field("x-request-id").unwrap().to_owned();
    proxy.exchange(4).await;

    let openapi = document(admin, "/openapi.json").await;
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(openapi["info"]["version"], env!("CARGO_PKG_VERSION"));
    let upstream = origin.address().to_string();
    let mut walked = 0;
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        let target = filled(path, &upstream, &incident);
        for (method, operation) in operations.as_object().unwrap() {
            // What does not end is asked for its head.
            let method = if operation["x-stream"] == true { "HEAD".to_owned() } else { method.to_uppercase() };
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let body = if example.is_object() { example.to_string() } else { String::new() };
            let what = format!("{method} {path}");
            walked += 1;
            if operation["x-waits"] != true {
                let answer = ask(admin, &method, &target, "", &body).await;
                assert_eq!(answer.status, 200, "{what}: {answer:?}");
                assert_documented(&openapi, operation, &what, &answer);
            }
            // What is refused is refused as documented.
            let foreign = ask(admin, &method, &target, "Sec-Fetch-Site: cross-site\r\n", &body).await;
            assert_documented(&openapi, operation, &format!("{what} by a foreign page"), &foreign);
            let guarded = operation["responses"]["403"].is_object();
            assert_eq!(foreign.status, if guarded { 403 } else { 200 }, "{what}");
            let other = ask(admin, "DELETE", &target, "", "").await;
            assert_eq!(other.status, 405, "{what}");
            let allowed = other.field("allow").unwrap().to_owned();
            assert!(allowed.split(", ").any(|one| one == method), "{what}: {allowed}");
            // What somebody else has to do is tried in tests/reload_admin.rs: nobody does it here.
            if operation["x-waits"] == true {
                continue;
            }
            for accept in ["text/plain", "application/json", "application/openmetrics-text"] {
                let answer = ask(admin, &method, &target, &format!("Accept: {accept}\r\n"), &body).await;
                assert_documented(&openapi, operation, &format!("{what} as {accept}"), &answer);
            }
            if !body.is_empty() {
                let answer = ask(admin, &method, &target, "", "nonsense").await;
                assert_documented(&openapi, operation, &format!("{what} with nonsense"), &answer);
                assert_eq!(answer.status, 400);
            }
            for nobody in ["?pool=nobody", "?limit=0", "?cause=nothing", "?verbose"] {
                let answer = ask(admin, &method, &format!("{target}{nobody}"), "", &body).await;
                assert_documented(&openapi, operation, &format!("{what}{nobody}"), &answer);
            }
            if path.contains('{') {
                let answer = ask(admin, &method, &filled(path, "nobody", "nobody-at-all"), "", &body).await;
                assert_documented(&openapi, operation, &format!("{what} of nobody"), &answer);
                assert_eq!(answer.status, 404);
            }
        }
    }
    assert!(walked >= 10, "{walked}");
}

/// Every path of the table of routes is documented.
#[test]
fn every_route_is_documented() {
    let openapi: Value = serde_json::from_str(&source::read(Path::new("config/openapi.json"))).unwrap();
    let documented: BTreeSet<&str> = openapi["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let table = source::read(Path::new("src/admin/routes.rs"));
    let arms = table.split("fn of(").nth(1).and_then(|rest| rest.split("fn methods").next()).unwrap();
    let routes: Vec<&str> = arms.split('"').skip(1).step_by(2).filter(|word| word.starts_with('/')).collect();
    assert!(routes.len() >= 8, "{routes:?}");
    for route in routes.into_iter().filter(|route| *route == "/" || !route.ends_with('/')) {
        assert!(documented.contains(route), "{route} is not in config/openapi.json");
    }
}
