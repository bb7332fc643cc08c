//! Proxies behind us have a word in Proxy-Status too: theirs stays in front of ours, in answers and in errors.

use super::*;
use crate::support::origin::{Behaviour, Origin};

const INNER: &str = "inner; next-hop=\"10.0.0.9:80\"; received-status=502, \"edge, two\"; error=connection_refused";

fn answer(status: &str, length: usize, body: &str) -> Behaviour {
    let head = format!("HTTP/1.1 {status}\r\nProxy-Status: {INNER}\r\nContent-Length: {length}\r\n\r\n{body}");
    if length == body.len() { Behaviour::Raw(head.into_bytes()) } else { Behaviour::RawThenClose(head.into_bytes()) }
}

async fn asked(behaviour: Behaviour, more: &str) -> (u16, Vec<String>) {
    let origin = Origin::start(behaviour).await;
    let proxy = Proxy::unchecked(&[origin.address()], more);
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"").await;
    let whole = answer.fields("proxy-status").join(", ");
    let list: sfv::List = sfv::Parser::new(&whole).parse().unwrap_or_else(|e| panic!("{whole}: {e}"));
    let names = list.iter().map(|member| {
        let sfv::ListEntry::Item(item) = member else { panic!("{whole}") };
        let name = &item.bare_item;
        name.as_token().map(|t| t.as_str()).or_else(|| name.as_string().map(|s| s.as_str())).unwrap().to_owned()
    });
    (answer.status, names.collect())
}

#[tokio::test]
async fn members_of_proxies_behind_us_come_first() {
    let all = "[errors]\nproxy_status = \"all\"\n";
    let (inner, ours) = (["inner", "edge, two"], ["inner", "edge, two", "causeway"]);
    for (status, code) in [("200 OK", 200), ("502 Bad Gateway", 502)] {
        let passes = |more| asked(answer(status, 2, "ok"), more);
        assert_eq!(passes("").await, (code, inner.map(str::to_owned).to_vec()), "what passes is not touched");
        assert_eq!(passes(all).await, (code, ours.map(str::to_owned).to_vec()));
    }
    // Our own error about an answer of theirs.
    let cut = || answer("200 OK", 9, "ok");
    assert_eq!(asked(cut(), "").await, (502, ours.map(str::to_owned).to_vec()));
}
