//! The dashboard, as a person uses it: a real proxy, a real browser, real clicks and keys. Chromium is needed, so these
//! are ignored unless they are asked for; what needs no browser is tested where the page is put together
//! (`src/admin/dashboard.rs`).

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::support::chromium::Page;
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::raw::Raw;

const TOP: &str = "listen = \"127.0.0.1:0\"\nlog.access = \"off\"\nworkers = 2\nadmin.address = ";

/// A running causeway, the address of its traffic and that of its dashboard.
struct Running {
    causeway: Causeway,
    traffic: SocketAddr,
    dashboard: String,
}

fn run(admin: &str, config: &str) -> Running {
    let (mut causeway, traffic) = Causeway::run(&format!("{TOP}\"{admin}\"\n{config}"));
    let dashboard = format!("http://{}", causeway.address("health on http://"));
    causeway.event("serving");
    Running { causeway, traffic, dashboard }
}

fn pool(name: &str, upstreams: &[(&str, SocketAddr)], more: &str) -> String {
    let mut text = format!("[pool.{name}]\nupstreams = [");
    for (name, address) in upstreams {
        let _ = write!(text, "{{ address = \"{address}\", name = \"{name}\" }}, ");
    }
    text + "]\n" + more + "\n"
}

async fn fine() -> Origin {
    Origin::start(Behaviour::Ok("fine".into())).await
}

/// The state that the page shows of this upstream.
fn state(upstream: &str) -> String {
    format!("{}.querySelector('.state').innerText.split(/\\s/)[0]", row(upstream))
}

fn row(upstream: &str) -> String {
    format!(
        "[...document.querySelectorAll('tr.up')].find((one) => one.querySelector('b').textContent === '{upstream}')"
    )
}

fn button(upstream: &str, text: &str) -> String {
    format!("[...{}.querySelectorAll('button')].find((one) => one.textContent === '{text}')", row(upstream))
}

async fn without_faults(mut page: Page) {
    let faults = page.faults().await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn an_upstream_that_dies_and_comes_back_is_seen_without_a_reload() {
    let (good, mut bad) = (fine().await, fine().await);
    let checks = "health = { type = \"tcp\", interval = \"50ms\", unhealthy_after = 1, healthy_after = 1 }";
    let running = run("127.0.0.1:0", &pool("app", &[("good", good.address()), ("bad", bad.address())], checks));
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.until(&format!("{} === 'ready' && {} === 'ready'", state("good"), state("bad"))).await;
    assert_eq!(page.ask("document.querySelector('.pool h2').innerText.includes('2 of 2 usable')").await, true);
    page.ask("window.stayed = true").await;
    bad.stop().await;
    page.until(&format!("{} === 'evicted'", state("bad"))).await;
    // The reason, the strip, the event and the words for who cannot see it.
    page.until("document.querySelector('.evicted + .why').innerText.includes('connection_refused')").await;
    page.until(&format!("{}.querySelector('.strip rect.evicted')", row("bad"))).await;
    page.until("document.getElementById('events').innerText.includes('app/bad evicted')").await;
    page.until("document.getElementById('live').textContent.includes('app/bad evicted')").await;
    bad.restart().await;
    page.until(&format!("{} === 'ready'", state("bad"))).await;
    page.until("document.getElementById('events').innerText.includes('app/bad is back')").await;
    assert_eq!(page.ask("window.stayed").await, true, "the page was never loaded again");
    without_faults(page).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn a_click_on_a_failed_request_opens_its_trail() {
    let nobody = Origin::nobody();
    let running = run("127.0.0.1:0", &pool("app", &[("gone", nobody)], "health.type = \"off\""));
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.until("document.getElementById('incidents-none').getClientRects().length").await;
    assert_eq!(Raw::connect(running.traffic).await.get("/orders").await.status, 502);
    page.click("document.querySelector('#incidents button')").await;
    page.until("document.getElementById('trail').open").await;
    page.until("document.getElementById('trail').innerText.includes('connection_refused')").await;
    let trail = page.ask("document.getElementById('trail').innerText").await.as_str().unwrap().to_owned();
    for said in ["502 Bad Gateway", "GET /orders", "failed", "gone", "connection_refused", "causeway explain", "Copy"] {
        assert!(trail.contains(said), "{said}: {trail}");
    }
    // Its address opens it again.
    let address = page.ask("location.href").await.as_str().unwrap().to_owned();
    page.keys("Escape").await;
    page.until("!document.getElementById('trail').open && !location.hash").await;
    page.go("about:blank").await;
    page.go(&address).await;
    // The command may be another one by now: what a look has found since then.
    page.until("document.getElementById('trail').innerText.includes('connection_refused')").await;
    // What clients saw, and what attempts met.
    page.until("document.getElementById('errors').innerText.includes('502 connection_refused')").await;
    page.until("document.getElementById('attempts').innerText.includes('app/gone')").await;
    without_faults(page).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn the_operator_switches_with_mouse_and_keys() {
    let (one, two) = (fine().await, fine().await);
    let upstreams = [("one", one.address()), ("two", two.address())];
    let running = run("127.0.0.1:0", &pool("app", &upstreams, "health.type = \"off\"\nbalance = \"round_robin\""));
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.click(&button("one", "Drain")).await;
    page.until(&format!("{} === 'draining'", state("one"))).await;
    page.until("document.getElementById('said').innerText.includes('app/one is draining, was ready')").await;
    for _ in 0..4 {
        assert_eq!(Raw::connect(running.traffic).await.get("/").await.status, 200);
    }
    assert_eq!((one.record().heads, two.record().heads), (0, 4), "the draining one gets nothing new");
    // By keys: the button has the focus still, and says Enable now.
    assert_eq!(page.ask("document.activeElement.textContent").await, "Enable");
    page.keys("Enter").await;
    page.until(&format!("{} === 'ready'", state("one"))).await;
    // Disabling is asked for once more; Escape and Cancel leave all as it was.
    for leave in ["Escape", "Enter"] {
        page.click(&button("two", "Disable")).await;
        page.until("document.getElementById('sure').open").await;
        assert_eq!(page.ask("document.activeElement.textContent").await, "Cancel");
        page.keys(leave).await;
        page.until("!document.getElementById('sure').open").await;
        assert_eq!(page.ask(&state("two")).await, "ready");
    }
    page.click(&button("two", "Disable")).await;
    page.click("document.getElementById('sure-yes')").await;
    page.until(&format!("{} === 'disabled'", state("two"))).await;
    // The last one is not drained by a slip.
    page.click(&button("one", "Drain")).await;
    page.until("document.getElementById('sure').open").await;
    assert_eq!(page.ask("document.getElementById('sure-body').innerText.includes('last usable upstream')").await, true);
    page.keys("Escape").await;
    page.click(&button("two", "Enable")).await;
    page.until(&format!("{} === 'ready'", state("two"))).await;
    without_faults(page).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn what_clients_and_upstreams_say_is_inert() {
    let evil = b"HTTP/1.1 200 <img src=x onerror=hit=1>\r\n<script>hit=1</script>: 1\r\n\r\n".to_vec();
    let origin = Origin::start(Behaviour::RawThenClose(evil)).await;
    let running = run("127.0.0.1:0", &pool("app", &[("one", origin.address())], "health.type = \"off\""));
    let mut client = Raw::connect(running.traffic).await;
    let head =
        "GET /%3Cimg%20src=x%20onerror=hit=1%3E HTTP/1.1\r\nHost: a\r\nUser-Agent: <img src=x onerror=hit=1>\r\n\r\n";
    client.send(head).await;
    assert!(client.response().await.status >= 400);
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.click("document.querySelector('#incidents button')").await;
    page.until("document.getElementById('trail').innerText.includes('<img src=x onerror=hit=1>')").await;
    assert_eq!(page.ask("typeof hit").await, "undefined");
    assert_eq!(
        page.ask("document.images.length + document.scripts.length").await,
        1,
        "its own script and nothing more"
    );
    // Were the page's own script led astray, the policy would stop it.
    let astray = "(() => { try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); return 'done'; } catch (e) { return e.name; } })()";
    assert_eq!(page.ask(astray).await, "TypeError");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn it_says_when_the_proxy_is_gone_and_goes_on_when_it_is_back() {
    let origin = fine().await;
    let admin = Origin::free().to_string();
    let config = pool("app", &[("one", origin.address())], "health.type = \"off\"");
    let running = run(&admin, &config);
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.until(&format!("{} === 'ready'", state("one"))).await;
    drop(running.causeway);
    page.until("document.getElementById('lost').getClientRects().length").await;
    let lost = page.ask("document.getElementById('lost').innerText").await;
    assert!(lost.as_str().unwrap().contains("No connection to causeway. Since "), "{lost}");
    assert_eq!(page.ask("document.body.classList.contains('stale')").await, true);
    page.click(&button("one", "Drain")).await;
    page.keys("Escape").await; // it is the last usable one: asked, and left
    let again = run(&admin, &config);
    page.until("!document.getElementById('lost').getClientRects().length").await;
    page.click(&button("one", "Disable")).await;
    page.click("document.getElementById('sure-yes')").await;
    page.until(&format!("{} === 'disabled'", state("one"))).await;
    page.until("document.getElementById('events').innerText.includes('app/one is disabled')").await;
    drop(again);
    without_faults(page).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn a_thousand_upstreams_stay_quick() {
    let nobody = Origin::nobody().port();
    let names: Vec<_> = (0..1000).map(|index| format!("web-{index:04}")).collect();
    let address = |index: usize| SocketAddr::from(([127, 1, (index >> 8) as u8, (index & 255) as u8], nobody));
    let upstreams: Vec<_> = names.iter().enumerate().map(|(index, name)| (&**name, address(index))).collect();
    let running = run("127.0.0.1:0", &pool("app", &upstreams, "health.type = \"off\""));
    let mut page = Page::open(1280, 900).await;
    page.go(&running.dashboard).await;
    page.until("document.querySelectorAll('tr.up').length > 20").await;
    let painted = page.ask("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0").await;
    assert!(painted.as_f64().unwrap() < 1000.0, "first paint after {painted} ms");
    assert!(page.ask("document.querySelectorAll('tr.up').length").await.as_u64().unwrap() <= 200, "those in sight");
    // What one update costs.
    const POLLS: &str =
        "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/api/status')).length";
    let (polls, script) = (page.ask(POLLS).await.as_f64().unwrap(), page.measured("ScriptDuration").await);
    page.until(&format!("{POLLS} >= {}", polls + 3.0)).await;
    let (more, spent) = (page.ask(POLLS).await.as_f64().unwrap(), page.measured("ScriptDuration").await);
    let each = (spent - script) * 1000.0 / (more - polls);
    assert!(each < 50.0, "{each} ms of script for one update");
    // By keys: `/`, then a name; Escape shows all again.
    page.keys("/").await;
    assert_eq!(page.ask("document.activeElement.id").await, "filter");
    page.keys("web-0777").await;
    page.until("document.querySelectorAll('tr.up').length === 1").await;
    assert_eq!(page.ask("document.querySelector('tr.up b').textContent").await, "web-0777");
    page.keys("Escape").await;
    page.until("document.querySelectorAll('tr.up').length > 20").await;
    // Far below there are rows as well, once somebody looks.
    page.ask("document.querySelectorAll('.block')[15].scrollIntoView({ behavior: 'instant' })").await;
    page.until(&format!("{} === 'ready'", state("web-0760"))).await;
    without_faults(page).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn a_phone_needs_no_scrolling_sideways() {
    let name = "a-name-longer-than-a-phone-is-wide_and_without_a_place_to_break";
    let running = run("127.0.0.1:0", &pool("app", &[(name, Origin::nobody())], "health.type = \"off\""));
    let target = format!("/{}", "long/".repeat(60));
    assert_eq!(Raw::connect(running.traffic).await.get(&target).await.status, 502);
    let mut page = Page::open(390, 844).await;
    page.go(&running.dashboard).await;
    page.until("document.querySelector('#incidents button') && document.querySelector('tr.up')").await;
    for width in [390, 320, 768, 1024] {
        page.resize(width, 844).await;
        page.until(&format!("innerWidth === {width}")).await;
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(page.ask(fits).await, true, "something is wider than {width}");
    }
    page.resize(390, 844).await;
    page.click("document.querySelector('#incidents button')").await;
    page.until("document.getElementById('trail').innerText.includes('connection_refused')").await;
    assert_eq!(page.ask("document.getElementById('trail').scrollWidth <= 390").await, true);
    without_faults(page).await;
}
