//! The causes of requests that a route does not let in.

use super::*;
use crate::support::origin::{Behaviour, Origin};

fn get(accept: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

/// All forms of the refusal of a route with these keys; and nothing reaches an upstream.
async fn kept_out(cause: Cause, keys: &str, before: usize, fields: &[&str]) {
    for full in [true, false] {
        let origin = Origin::start(Behaviour::Echo).await;
        let detail = if full { "full" } else { "public" };
        let more = format!("[errors]\ndetail = \"{detail}\"\n[route.shop]\n{keys}\n");
        let proxy = Proxy::unchecked(&[origin.address()], &more);
        for _ in 0..before {
            assert_eq!(ask(&proxy, &get("*/*"), b"").await.status, 200);
        }
        let status = cause.row().status;
        let wanted = Wanted { cause, status, attempt: None };
        let secrets = [origin.address().to_string(), PATH.to_owned(), "route.shop".to_owned(), "127.0.0.1".to_owned()];
        checked(&wanted, full, &secrets, async |accept| {
            let answer = ask(&proxy, &get(accept), b"").await;
            for field in fields {
                assert!(answer.field(field).is_some(), "{field}: {answer:?}");
            }
            answer
        })
        .await;
        assert_eq!(origin.record().requests.len(), before);
        let seen = proxy.exchange(before).await;
        assert_eq!((seen.status, seen.cause), (status, Some(cause.token())));
    }
}

#[tokio::test]
async fn an_address_that_may_not_come_in() {
    kept_out(Cause::Denied, "deny = [\"loopback\"]", 0, &[]).await;
    kept_out(Cause::Denied, "allow = [\"10.0.0.0/8\"]", 0, &[]).await;
}

#[tokio::test]
async fn no_password_and_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let keys = format!("basic_auth = \"{}\"", file.display());
    kept_out(Cause::Unauthorized, &keys, 0, &["www-authenticate"]).await;
}

#[tokio::test]
async fn more_than_the_rate() {
    let fields = ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
    kept_out(Cause::RateLimited, "rate_limit = \"2/h\"", 2, &fields).await;
}
