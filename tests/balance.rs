//! How one of several upstreams is chosen, as clients see it (CONTRACT §2 `balance`, `sticky`, `weight`, `backup`).

use std::collections::{BTreeMap, HashSet};

use causeway::health::State;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

/// So many origins, each of which answers with its number.
async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for number in 0..count {
        origins.push(Origin::start(Behaviour::Ok(number.to_string().into_bytes())).await);
    }
    origins
}

/// A pool of these, the first with these words for its entry, unchecked.
fn proxy(origins: &[Origin], first: &str, more: &str) -> Proxy {
    let entry = |(index, origin): (usize, &Origin)| match index {
        0 => format!("{{ address = \"{}\"{first} }}", origin.address()),
        _ => format!("\"{}\"", origin.address()),
    };
    let list: Vec<String> = origins.iter().enumerate().map(entry).collect();
    Proxy::start(&format!("[pool.app]\nupstreams = [{}]\nhealth.type = \"off\"\n{more}", list.join(", ")))
}

async fn ask(proxy: &Proxy, fields: &str) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    let answer = client.response().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Who answered how often.
async fn shares(proxy: &Proxy, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        *shares.entry(ask(proxy, "").await.text()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn round_robin_is_exact_and_honours_weights() {
    let origins = origins(3).await;
    let proxy = proxy(&origins, ", weight = 3", "balance = \"round_robin\"\n");
    let shares = shares(&proxy, 50).await;
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [30, 10, 10]);
}

#[tokio::test]
async fn every_balance_reaches_everybody_and_leaves_the_dead_alone() {
    for balance in ["p2c", "round_robin", "least_in_flight", "ewma"] {
        let mut origins = origins(3).await;
        let proxy = proxy(&origins, "", &format!("balance = \"{balance}\"\npassive.evict = \"60s\"\n"));
        let before = shares(&proxy, 90).await;
        assert_eq!(before.len(), 3, "{balance}: {before:?}");
        origins[1].stop().await;
        let after = shares(&proxy, 60).await;
        assert_eq!(after.keys().collect::<Vec<_>>(), ["0", "2"], "{balance}");
    }
}

#[tokio::test]
async fn the_same_key_meets_the_same_upstream_and_only_the_keys_of_a_dead_one_move() {
    for (balance, field) in [("hash:header:X-Tenant", "X-Tenant: "), ("hash:cookie:tenant", "Cookie: a=b; tenant=")] {
        let mut origins = origins(4).await;
        let proxy = proxy(&origins, "", &format!("balance = \"{balance}\"\npassive.evict = \"60s\"\n"));
        let mut homes = BTreeMap::new();
        for round in 0..3 {
            for key in 0..40 {
                let answer = ask(&proxy, &format!("{field}k{key}\r\n")).await.text();
                let home = homes.entry(key).or_insert_with(|| answer.clone());
                assert_eq!(*home, answer, "{balance}, round {round}, key {key}");
            }
        }
        assert_eq!(homes.values().collect::<HashSet<_>>().len(), 4, "{balance}: {homes:?}");
        origins[2].stop().await;
        let mut heirs = HashSet::new();
        for (key, home) in &homes {
            let answer = ask(&proxy, &format!("{field}k{key}\r\n")).await.text();
            if home == "2" {
                assert!(answer != "2");
                heirs.insert(answer);
            } else {
                assert_eq!(*home, answer, "{balance}: key {key} moved without need");
            }
        }
        assert!(heirs.len() > 1, "{balance}: all of them went to one neighbour");
    }
}

#[tokio::test]
async fn one_client_address_and_one_path_have_one_home() {
    for balance in ["hash:client_ip", "hash:path"] {
        let origins = origins(4).await;
        let proxy = proxy(&origins, "", &format!("balance = \"{balance}\"\n"));
        assert_eq!(shares(&proxy, 20).await.len(), 1, "{balance}");
    }
}

#[tokio::test]
async fn a_sticky_client_stays_until_its_upstream_is_gone() {
    let mut origins = origins(3).await;
    let proxy = proxy(&origins, "", "sticky = \"app\"\npassive.evict = \"60s\"\n");
    let first = ask(&proxy, "").await;
    let home = first.text();
    let set = first.field("set-cookie").expect("a cookie").to_owned();
    assert!(set.starts_with("app=") && set.contains("HttpOnly") && set.contains("Path=/"), "{set}");
    assert!(!set.contains("127.0.0.1"), "no address: {set}");
    let cookie = format!("Cookie: other=1; {}\r\n", set.split(';').next().unwrap());
    for _ in 0..20 {
        let answer = ask(&proxy, &cookie).await;
        assert_eq!((answer.text(), answer.field("set-cookie")), (home.clone(), None));
    }
    let index = home.parse::<usize>().unwrap();
    origins[index].stop().await;
    // Others help out, and the client keeps its cookie until its upstream is no longer usable.
    let mut answer = ask(&proxy, &cookie).await;
    while proxy.server().pools()[0].members()[index].health.state() == State::Ready {
        assert_eq!(answer.field("set-cookie"), None);
        answer = ask(&proxy, &cookie).await;
    }
    let answer = ask(&proxy, &cookie).await;
    assert_ne!(answer.text(), home);
    let fresh = answer.field("set-cookie").expect("another cookie");
    assert!(fresh.starts_with("app=") && fresh != set, "{fresh}");
    for garbage in ["Cookie: app=\r\n", "Cookie: app=zzz; app=0\r\n", "Cookie: ;;;=;app\r\nCookie: app=%00\r\n"] {
        assert!(ask(&proxy, garbage).await.field("set-cookie").is_some(), "{garbage}");
    }
}

#[tokio::test]
async fn a_backup_serves_only_while_no_other_is_usable() {
    let mut origins = origins(3).await;
    let proxy = proxy(&origins, ", backup = true", "passive = { evict = \"300ms\", max_evicted = \"100%\" }\n");
    assert_eq!(shares(&proxy, 30).await.keys().collect::<Vec<_>>(), ["1", "2"]);
    origins[1].stop().await;
    assert_eq!(shares(&proxy, 30).await.keys().collect::<Vec<_>>(), ["2"]);
    origins[2].stop().await;
    assert_eq!(shares(&proxy, 30).await.keys().collect::<Vec<_>>(), ["0"]);
    origins[1].restart().await;
    proxy.until(0, State::Ready).await;
    let mut tries = 0;
    while ask(&proxy, "").await.text() != "1" {
        tries += 1;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        assert!(tries < 500, "the first one is back and gets nothing");
    }
}
