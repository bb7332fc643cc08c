//! `errors.page`: checked when it is loaded, filled in with nothing raw, public where detail is public.

use causeway::config::problem::render;
use causeway::config::{Config, Flags, LoadError, load};
use tempfile::TempDir;

use super::*;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

const ALL: &str = "<p class=\"{{status}}\">{{cause}}|{{hint}}|{{request_id}}|{{upstream}}|{{pool}}|{{client_ip}}|{{host}}|{{scheme}}|{{path}}";

/// A config whose error page is these bytes.
fn loaded(page: &[u8]) -> Result<Config, String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("causeway.toml");
    std::fs::write(&file, "[errors]\npage = \"502.html\"\n[pool.app]\nupstreams = [\"3000\"]\n").unwrap();
    std::fs::write(folder.path().join("502.html"), page).unwrap();
    match load(&Flags { config: Some(file), ..Flags::default() }, &|_| None) {
        Ok(loaded) => Ok(loaded.config),
        Err(LoadError::Problems(problems)) => Err(render(&problems).replace(folder.path().to_str().unwrap(), "DIR")),
        Err(error) => panic!("{error}"),
    }
}

fn shown(page: &str, exchange: &Exchange, full: bool) -> String {
    let annotator = Annotator::of(&loaded(page.as_bytes()).unwrap());
    let response = annotator.render(exchange, &verdict(exchange), Telling::new(Form::Html, full));
    assert!(!response.headers().contains_key("content-security-policy"), "what an own page needs is its own affair");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    String::from_utf8(response.body().to_vec()).unwrap()
}

#[test]
fn its_places_are_filled_in() {
    assert_eq!(
        shown(ALL, &golden(), true),
        "<p class=\"502\">connection_refused|Start with 127.0.0.1:3000: nothing listens there. Is the app running, and is the port right?\
         |4f6c2a91b07de358c1a4e9d2637f8b05|127.0.0.1:3000|app|127.0.0.1|shop.example|http|/orders"
    );
    assert_eq!(
        shown(ALL, &golden(), false),
        "<p class=\"502\">connection_refused|Trying again later may help.|4f6c2a91b07de358c1a4e9d2637f8b05|app/1|app||shop.example|http|"
    );
    let unrouted = shown("{{hint}}|{{upstream}}|{{pool}}", &own(Failure::new(Cause::NoRoute)), false);
    assert_eq!(unrouted, "No route takes this address.||");
}

#[test]
fn what_a_client_sends_stays_text() {
    let mut exchange = golden();
    exchange.uri = "/%3Cscript%3E'\"&{{status}}".parse().unwrap();
    exchange.host = Some(HeaderValue::from_bytes(b"a\"><script>\xff").unwrap());
    let page = shown("<b title=\"{{host}}\">{{path}}</b>", &exchange, true);
    assert_eq!(page, "<b title=\"a&quot;&gt;&lt;script&gt;\\xff\">/%3Cscript%3E&#39;&quot;&amp;{{status}}</b>");
}

#[test]
fn a_page_with_a_fault_does_not_load() {
    let said = loaded(b"<h1>Sorry</h1>\n<p>{{hnt}} and {{status\n").unwrap_err();
    assert_eq!(
        said,
        "DIR/502.html:2:4: there is no placeholder {{hnt}}\n  <p>{{hnt}} and {{status\n     ^^^^^^^ did you mean {{hint}}?\n\
         DIR/502.html:2:16: `{{` without `}}`\n  <p>{{hnt}} and {{status\n                 ^^ write &#123;&#123; for the signs themselves\n\
         2 problems. Nothing was started or changed.\n"
    );
    let said = loaded(b"<p>\n\xff").unwrap_err().replace('\n', " ");
    assert!(said.starts_with("DIR/causeway.toml:2:8: DIR/502.html is not UTF-8, in line 2 "), "{said}");
    let said = loaded(&vec![b'x'; (1 << 20) + 1]).unwrap_err();
    assert!(said.contains("502.html is too large") && said.contains("a page may have 1MiB"), "{said}");
}

#[test]
fn a_page_in_which_a_client_could_run_code_does_not_load() {
    let said =
        loaded(b"<p>{{hint}}</p>\n<p onclick=\"f('{{path}}')\">\n<a title=\"a>b\" href={{host}}>\n").unwrap_err();
    assert_eq!(
        said,
        "DIR/502.html:2:16: a placeholder in onclick: what a client sends is code there\n  <p onclick=\"f('{{path}}')\">\n\
         \x20                ^^^^^^^^\n  put it into the text of the page, or into title, alt, value, class or data-...\n\
         DIR/502.html:3:21: a placeholder in a tag, without quotes around it\n  <a title=\"a>b\" href={{host}}>\n\
         \x20                     ^^^^^^^^ put quotes around it\n\
         2 problems. Nothing was started or changed.\n"
    );
    for page in ["<iframe srcdoc=\"{{hint}}\">", "<p style=\"{{path}}\">", "<a href=\"{{path}}\">", "<!-- {{path}} -->"]
    {
        assert!(loaded(page.as_bytes()).unwrap_err().contains("a placeholder "), "{page}");
    }
    let fine = loaded(b"<title>{{status}}</title><a title=\"{{path}}\" href=\"/help?cause={{cause}}\">{{hint}}</a>");
    assert!(fine.is_ok(), "{fine:?}");
}

#[tokio::test]
async fn browsers_get_it_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("502.html"), "<h1>Back soon</h1>{{cause}} {{request_id}}").unwrap();
    let text = format!(
        "[errors]\npage = \"{}/502.html\"\n[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n",
        folder.path().display(),
        Origin::nobody()
    );
    let proxy = Proxy::start(&text);
    for (accept, own) in [("text/html", true), ("text/plain", false), ("*/*", false)] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")).await;
        let answer = client.response().await;
        let id = answer.field("x-request-id").unwrap();
        let whole = format!("<h1>Back soon</h1>connection_refused {id}");
        assert_eq!((answer.status, answer.text() == whole), (502, own), "{answer:?}");
        assert!(answer.field("proxy-status").is_some() && answer.field("cache-control") == Some("no-store"));
    }
}
