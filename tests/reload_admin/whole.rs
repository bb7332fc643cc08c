//! The same with the real program: what the log, the streams, the metrics and the commands say of one reload.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use super::*;
use crate::support::chromium::Page;
use crate::support::process::{Causeway, PATIENCE};

/// A running causeway and its file.
struct Running {
    causeway: Causeway,
    file: PathBuf,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

fn file(more: &str) -> String {
    format!("listen = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nlog.access = \"off\"\nworkers = 1\n{APP}{more}")
}

fn run() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("causeway.toml");
    std::fs::write(&path, file("")).unwrap();
    let mut causeway = Causeway::words(&["run", "--config", path.to_str().unwrap()]);
    let admin = causeway.address("health on http://");
    causeway.event("serving");
    Running { causeway, file: path, admin, _folder: folder }
}

impl Running {
    fn write(&self, more: &str) {
        std::fs::write(&self.file, file(more)).unwrap();
    }

    async fn reload(&self) -> Output {
        causeway(&["reload", "--admin", &self.admin.to_string()], &[]).await
    }

    async fn get(&self, target: &str) -> Response {
        let mut client = Raw::connect(self.admin).await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin)).await;
        client.response().await
    }

    async fn metric(&self, name: &str) -> String {
        let page = self.get("/metrics").await.text();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("causeway_config_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}: {page}")).to_owned()
    }

    /// The next event of this name that a stream tells.
    fn streamed(&self, name: &str) -> Value {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin).unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.find(|line| *line == format!("event: {name}")).unwrap();
        serde_json::from_str(lines.next().unwrap().strip_prefix("data: ").unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_told_everywhere() {
    let mut running = run();
    let config: Value = serde_json::from_slice(&running.get("/api/config").await.body).unwrap();
    assert_eq!(config["pool"]["app"]["timeouts"]["read"], "60s");
    running.write("timeouts.read = \"30s\"\nretry.attempts = 1\n");
    let out = running.reload().await;
    let changes = ["pool.app.timeouts.read: 60s -> 30s", "pool.app.retry.attempts: all -> 1"];
    let wanted = format!("The new configuration is in force: 2 changes.\n  {}\n", changes.join("\n  "));
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), wanted), "{out:?}");
    let config: Value = serde_json::from_slice(&running.get("/api/config").await.body).unwrap();
    assert_eq!(config["pool"]["app"]["timeouts"]["read"], "30s");
    let line: Value = serde_json::from_str(&running.causeway.event("config_reloaded")).unwrap();
    assert_eq!(
        (&line["by"], &line["count"], &line["changes"]),
        (&"the admin".into(), &2.into(), &changes.to_vec().into())
    );
    assert_eq!(running.streamed("config_reloaded")["changes"], line["changes"]);
    assert_eq!(running.metric("last_reload_successful").await, "1");
    assert_eq!(running.metric("reloads_total{result=\"success\"}").await, "1");
    assert_eq!(text(&running.reload().await.stdout), "Nothing has changed.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_changes_nothing_and_is_told_everywhere() {
    let mut running = run();
    running.write("timeouts.read = \"soon\"\n");
    let check = causeway(&["check", running.file.to_str().unwrap()], &[]).await;
    let check = text(&check.stdout);
    let problems = check.strip_suffix("Nothing was started or changed.\n").unwrap_or_else(|| panic!("{check}"));
    let out = running.reload().await;
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{said}");
    assert_eq!(said, format!("{problems}Nothing was changed; the old configuration stays in force.\n"));
    let line: Value = serde_json::from_str(&running.causeway.event("config_refused")).unwrap();
    assert_eq!((&line["by"], &line["level"]), (&"the admin".into(), &"error".into()));
    assert_eq!(line["why"][0], problems.lines().next().unwrap());
    assert_eq!(running.streamed("config_refused")["why"], line["why"]);
    assert_eq!(running.metric("last_reload_successful").await, "0");
    assert_eq!(running.metric("reloads_total{result=\"failure\"}").await, "1");
    assert_eq!(running.get("/readyz").await.status, 200, "what is in force is as good as before");
    let status: Value = serde_json::from_slice(&running.get("/api/status").await.body).unwrap();
    assert!(status["reload"]["failure"]["why"].as_str().unwrap().starts_with(problems.lines().next().unwrap()));

    running.write("");
    assert_eq!(text(&running.reload().await.stdout), "Nothing has changed.\n");
    assert_eq!(running.metric("last_reload_successful").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium"]
async fn the_dashboard_shows_what_a_reload_changed_and_that_one_failed() {
    let running = run();
    let mut page = Page::open(1280, 900).await;
    page.go(&format!("http://{}", running.admin)).await;
    page.until("document.getElementById('about').innerText.includes('serving')").await;
    running.write("timeouts.read = \"30s\"\nretry.attempts = 1\n");
    running.reload().await;
    let events = |text: &str| format!("document.getElementById('events').innerText.includes('{text}')");
    page.until(&events("configuration reloaded: 2 changes")).await;
    page.until(&events("pool.app.timeouts.read: 60s -> 30s")).await;
    page.until("document.getElementById('live').textContent.includes('2 changes')").await;
    page.until("document.getElementById('about').innerText.includes('(reloaded ')").await;
    running.write("timeouts.read = \"soon\"\n");
    running.reload().await;
    page.until("document.getElementById('reload').innerText.includes('The last reload failed')").await;
    page.until(&events("old one stays in force")).await;
    running.write("");
    running.reload().await;
    page.until("document.getElementById('reload').hidden").await;
    let faults = page.faults().await;
    assert!(faults.is_empty(), "{faults:#?}");
}
