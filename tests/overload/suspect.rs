//! `request_suspect`: one request, several upstreams that dropped the connection.

use super::*;
use crate::support::process::Causeway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_several_upstreams_down_is_named() {
    let crashing = [Origin::start(Behaviour::CloseBeforeHead).await, Origin::start(Behaviour::ResetBeforeHead).await];
    let (a, b) = (crashing[0].address(), crashing[1].address());
    let (mut causeway, address) = Causeway::run(&format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nlog.access = \"off\"\n[route.shop]\n[pool.app]\nupstreams = [\"{a}\", \"{b}\"]\nhealth.type = \"off\"\n"
    ));
    let answer = Raw::connect(address).await.get("/secret-path").await;
    assert_eq!(answer.status, 502);
    let line: serde_json::Value = serde_json::from_str(&causeway.event("request_suspect")).unwrap();
    assert_eq!((&line["level"], &line["method"], &line["route"]), (&"warn".into(), &"GET".into(), &"shop".into()));
    assert_eq!(line["request_id"].as_str(), answer.field("x-request-id"));
    let text = line.to_string();
    assert!(text.contains(&a.to_string()) && text.contains(&b.to_string()), "{text}");
    assert!(!text.contains("secret-path"), "never the path: {text}");
}
