//! The operator's word on an upstream, as clients and upstreams feel it.

use std::time::Duration;

use super::*;
use crate::support::origin::{Behaviour, Origin};

async fn get(proxy: &Proxy, fields: &str) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    client.response().await
}

#[tokio::test]
async fn what_is_in_flight_ends_and_what_is_new_goes_elsewhere() {
    let slow = Origin::start(Behaviour::Slow(Duration::from_millis(600))).await;
    let other = Origin::start(Behaviour::Ok("other".into())).await;
    let (proxy, admin) = looked_into(&pool(&[slow.address(), other.address()], "balance = \"round_robin\""));
    // Two at once: one of them is on the slow one.
    let mut clients = [Raw::connect(proxy.address).await, Raw::connect(proxy.address).await];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    slow.requests(1).await;
    let name = format!("app/{}", slow.address());
    let words = ["drain", &name, "--wait", "20s"];
    let out = causeway(admin, &words);
    let (out, answers) = tokio::join!(out, async {
        let [one, two] = &mut clients;
        (one.response().await, two.response().await)
    });
    let said = text(&out.stdout);
    assert_eq!((answers.0.status, answers.1.status), (200, 200));
    assert_eq!(out.status.code(), Some(0), "{said}{}", text(&out.stderr));
    assert!(said.starts_with(&format!("{name} is draining (it was ready): 1 request is in flight")), "{said}");
    assert!(said.contains("Nothing is in flight there any more") && said.contains("1 of 2 upstreams"), "{said}");
    for _ in 0..10 {
        assert_eq!(get(&proxy, "").await.text(), "other");
    }
    assert_eq!(slow.record().heads, 1);
    let out = causeway(admin, &["enable", &name]).await;
    assert!(text(&out.stdout).contains("is ready (it was draining)."), "{out:?}");
    slow.set(Behaviour::Ok("back".into()));
    let mut texts = Vec::new();
    while !texts.contains(&"back".to_owned()) {
        texts.push(get(&proxy, "").await.text());
        assert!(texts.len() < 1000, "it gets nothing again");
    }
}

#[tokio::test]
async fn a_tunnel_goes_on_and_a_wait_for_it_has_an_end() {
    let (tunnel, other) = (Origin::start(Behaviour::Tunnel).await, Origin::start(Behaviour::Ok("other".into())).await);
    let config = pool(&[tunnel.address()], "") + "[route.app]\npool = \"app\"\n";
    let (proxy, admin) = looked_into(
        &(config
            + &format!(
                "[route.o]\npath = \"/o\"\npool = \"o\"\n[pool.o]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n",
                other.address()
            )),
    );
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(client.response().await.status, 101);
    let name = format!("app/{}", tunnel.address());
    let out = causeway(admin, &["drain", &name, "--wait", "300ms"]).await;
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(text(&out.stderr).contains("1 request is still in flight after 300"), "{out:?}");
    assert!(text(&out.stdout).contains("0 of 1 upstreams of pool app are usable. Its requests fail"), "{out:?}");
    client.send("still here").await;
    client.finish().await;
    let (echoed, _) = client.rest().await;
    assert_eq!(text(&echoed), "hello still here");
    proxy.exchange(0).await;
    let out = causeway(admin, &["drain", &name, "--wait"]).await;
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(text(&out.stdout).contains("draining already: nothing is in flight there."), "{out:?}");
}

/// Issue 6, point 4: a session ends where it began, unless the upstream is sick or out of service.
#[tokio::test]
async fn a_sticky_client_stays_while_its_upstream_drains_and_no_longer() {
    let (one, two) = (Origin::start(Behaviour::Ok("1".into())).await, Origin::start(Behaviour::Ok("2".into())).await);
    let (proxy, admin) = looked_into(&pool(&[one.address(), two.address()], "sticky = \"at\""));
    let first = get(&proxy, "").await;
    let home = first.text();
    let cookie = format!("Cookie: {}\r\n", first.field("set-cookie").unwrap().split(';').next().unwrap());
    let name = format!("app/{}", if home == "1" { one.address() } else { two.address() });
    let out = causeway(admin, &["drain", &name]).await;
    assert!(text(&out.stdout).contains("Clients with its sticky cookie stay"), "{out:?}");
    for _ in 0..10 {
        let answer = get(&proxy, &cookie).await;
        assert_eq!((answer.text(), answer.field("set-cookie")), (home.clone(), None), "the client stays");
        assert_ne!(get(&proxy, "").await.text(), home, "a new one goes elsewhere");
    }
    causeway(admin, &["disable", &name]).await;
    let moved = get(&proxy, &cookie).await;
    assert!(moved.text() != home && moved.field("set-cookie").is_some(), "{moved:?}");
}

#[tokio::test]
async fn a_name_that_nobody_has_lists_those_that_there_are() {
    let origin = Origin::start(Behaviour::Ok("1".into())).await;
    let (_proxy, admin) = looked_into(&pool(&[origin.address()], ""));
    for wrong in ["app/10.9.9.9:1", "nobody/x", "app", "app/\u{1b}[2J"] {
        let out = causeway(admin, &["disable", wrong]).await;
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{wrong}: {said}");
        assert!(said.contains(&format!("Known are:\n  app/{}\n", origin.address())), "{wrong}: {said}");
        assert!(!said.contains('\u{1b}'));
    }
}
