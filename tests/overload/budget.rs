//! `retry.budget`.

use super::*;

#[tokio::test]
async fn resends_beyond_the_budget_are_no_more_and_unsent_ones_are_free() {
    let crashing = [Origin::start(Behaviour::CloseBeforeHead).await, Origin::start(Behaviour::CloseBeforeHead).await];
    let addresses = [crashing[0].address(), crashing[1].address()];
    let proxy = Proxy::changed(&addresses, FULL, |config| retry(config, |retry| retry.budget = Some(0)));
    let mut reasons = Vec::new();
    for _ in 0..110 {
        let body = json(&Raw::connect(proxy.address).await.get("/").await);
        reasons.push(body["not_tried"][0]["reason"].as_str().unwrap_or_default().to_owned());
    }
    let spent = reasons.iter().filter(|reason| reason.is_empty()).count();
    assert!((100..110).contains(&spent), "10 a second are free, 100 in 10 s: {spent} were");
    assert_eq!(reasons.last().unwrap(), "budget");
    // Nothing sent: as often as there are upstreams, budget or not.
    let good = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let list = [Origin::nobody(), Origin::nobody(), good.address()];
    let proxy = Proxy::changed(&list, FULL, |config| retry(config, |retry| retry.budget = Some(0)));
    for _ in 0..120 {
        assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200);
    }
}
