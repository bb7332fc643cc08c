//! A reload as an operator asks for it and hears of it: `causeway reload`, `POST /api/reload`, `causeway status`. Here
//! somebody else stands in for whoever reloads; [`whole`] has the real program.

mod whole;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use causeway::admin::{self, Admin, Ask, Refused, Start, Told};
use causeway::app::Hooks;
use causeway::config::{Config, Flags, LoadError, changes, load::load_from};
use causeway::observe::Incidents;
use causeway::observe::access_log::AccessLog;
use causeway::proxy::Proxy;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::admin::openapi::assert_documented;
use crate::support::origin::{Behaviour, Origin};
use crate::support::raw::{Raw, Response};
use crate::support::source;

/// An admin that nobody is behind.
struct Alone {
    admin: Arc<Admin>,
    address: SocketAddr,
    asked: mpsc::Receiver<Ask>,
}

const APP: &str = "[pool.app]\nupstreams = [\"127.0.0.1:9\"]\nhealth.type = \"off\"\n";

async fn alone(config: &str) -> Alone {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config::from_toml(config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let proxy =
        Proxy::new(config.clone(), Vec::new(), AccessLog::off(), Arc::new(Incidents::default()), Hooks::default());
    let at = (Instant::now(), SystemTime::now());
    let start = Start { config: Arc::new(config), at, workers: 1, doors: Vec::new() };
    let (ask, asked) = mpsc::channel(1);
    let admin = Arc::new(Admin::new(Vec::new(), Arc::new(proxy), start, ask));
    tokio::spawn(admin::serve(listener, Arc::clone(&admin), std::future::pending()));
    Alone { admin, address, asked }
}

impl Alone {
    /// Answers the next one that asks.
    async fn answers(&mut self, came: Result<Told, Refused>) {
        let ask = self.asked.recv().await.unwrap();
        let why = came.as_ref().err().map(ToString::to_string);
        self.admin.reloaded(why.as_deref().map_or(Ok(()), Err), SystemTime::now());
        ask.send(came).unwrap();
    }
}

/// What is wrong with a file, and what is printed about it.
fn wrong(folder: &Path) -> (LoadError, String) {
    let file = folder.join("causeway.toml");
    std::fs::write(&file, format!("{APP}balanse = \"p2c\"\n[pool.app.timeouts]\nread = \"soon\"\n")).unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let error = load_from(&[], &flags, &|_| None).unwrap_err();
    let said = error.to_string();
    (error, said)
}

async fn causeway(words: &[&str], envs: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAUSEWAY_")) {
        command.env_remove(name);
    }
    command.args(words).envs(envs.iter().copied()).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn post(admin: SocketAddr, fields: &str) -> Response {
    let mut client = Raw::connect(admin).await;
    client.send(format!("POST /api/reload HTTP/1.1\r\nHost: {admin}\r\n{fields}\r\n")).await;
    client.response().await
}

#[tokio::test]
async fn what_changed_is_printed() {
    let mut alone = alone(APP).await;
    let admin = alone.address.to_string();
    let old = Config::from_toml(APP).unwrap();
    let new = format!("{APP}timeouts.read = \"30s\"\n[route.api]\npath = \"/api\"\n[route.main]\n");
    let told = Told { changes: changes(&old, &Config::from_toml(&new).unwrap()), warnings: Vec::new() };
    let words = ["reload", "--admin", &admin];
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Ok(told)));
    let wanted =
        "The new configuration is in force: 2 changes.\n  route.api: new\n  pool.app.timeouts.read: 60s -> 30s\n";
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), wanted.to_owned()), "{out:?}");

    let nothing = Told { changes: Vec::new(), warnings: Vec::new() };
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Ok(nothing)));
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "Nothing has changed.\n"), "{out:?}");

    let nothing = Told { changes: Vec::new(), warnings: Vec::new() };
    let json = ["reload", "--json", "--admin", &admin];
    let (out, ()) = tokio::join!(causeway(&json, &[]), alone.answers(Ok(nothing)));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said, serde_json::json!({ "changes": [], "text": [], "warnings": [] }));
}

#[tokio::test]
async fn what_is_wrong_is_printed_as_check_does_it() {
    let mut alone = alone(APP).await;
    let admin = alone.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let (error, said) = wrong(folder.path());
    let words = ["reload", "--admin", &admin];
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Err(Refused::Config(error))));
    let wanted =
        said.replace("Nothing was started or changed.", "Nothing was changed; the old configuration stays in force.");
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(78), wanted), "{out:?}");
    assert!(said.contains("2 problems. Nothing was started or changed.\n"), "{said}");

    // Whoever looks later sees it too.
    let out = causeway(&["status", "--admin", &admin], &[]).await;
    let table = text(&out.stdout);
    let joined = table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        joined.contains("The last reload failed 0s ago, the old configuration stays in force: ")
            && joined.contains(":4:1:")
            && joined.contains(". Next: causeway check"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.len() <= 80), "{table}");

    let cannot = Refused::Cannot("listener web: :8080 is taken by another process.".into());
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Err(cannot)));
    let wanted = "listener web: :8080 is taken by another process.\nNothing was changed; the old configuration stays in force.\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(78), wanted), "{out:?}");

    let told = Told { changes: Vec::new(), warnings: Vec::new() };
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Ok(told)));
    assert_eq!(out.status.code(), Some(0));
    let table = text(&causeway(&["status", "--admin", &admin], &[]).await.stdout);
    assert!(table.contains(", reloaded 0s ago") && !table.contains("failed"), "{table}");
}

#[tokio::test]
async fn nobody_to_ask_is_69() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let out = causeway(&["reload", "--admin", &free], &[]).await;
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.starts_with("causeway reload: nothing listens on") && said.contains("--admin"), "{said}");
    for behaviour in [Behaviour::Ok("{".into()), Behaviour::Status(404), Behaviour::Garbage] {
        let other = Origin::start(behaviour).await;
        let out = causeway(&["reload", "--admin", &other.address().to_string()], &[]).await;
        assert_eq!(out.status.code(), Some(69), "{out:?}");
        assert!(text(&out.stderr).contains("something else"), "{out:?}");
    }
    let alone = alone(APP).await;
    let Alone { asked, address, .. } = alone;
    drop(asked);
    let out = causeway(&["reload", "--admin", &address.to_string()], &[]).await;
    assert_eq!(out.status.code(), Some(69));
    assert_eq!(text(&out.stderr), "causeway reload: This causeway is ending: nothing is reloaded any more.\n");
}

#[tokio::test]
async fn who_may_switch_an_upstream_may_ask_for_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, "s3cret-s3cret-s3cret\n").unwrap();
    std::fs::write(&wrong, "another-another-another\n").unwrap();
    let mut alone = alone(&format!("admin.token_file = \"{}\"\n{APP}", right.display())).await;
    let admin = alone.address.to_string();
    let (right, wrong) = (right.display().to_string(), wrong.display().to_string());
    let told = Told { changes: Vec::new(), warnings: Vec::new() };
    let words = ["reload", "--admin", &admin, "--token-file", &right];
    let (out, ()) = tokio::join!(causeway(&words, &[]), alone.answers(Ok(told)));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let out = causeway(&["reload", "--admin", &admin], &[("CAUSEWAY_TOKEN_FILE", &wrong)]).await;
    let said = "causeway reload: This is not the token of admin.token_file.\n";
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(69), said));
}

/// The file that the proxy does not take still says where the proxy is.
#[tokio::test]
async fn a_broken_file_says_where_to_ask() {
    let mut alone = alone(APP).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    let (error, _) = wrong(folder.path());
    std::fs::write(&file, format!("admin.address = \"{}\"\n{APP}balanse = \"p2c\"\n", alone.address)).unwrap();
    let file = file.display().to_string();
    let env = [("CAUSEWAY_CONFIG", file.as_str())];
    let (out, ()) = tokio::join!(causeway(&["reload"], &env), alone.answers(Err(Refused::Config(error))));
    assert_eq!(out.status.code(), Some(78), "{out:?}");
}

#[tokio::test]
async fn every_answer_is_documented() {
    let mut alone = alone(APP).await;
    let openapi: Value = serde_json::from_str(&source::read("config/openapi.json")).unwrap();
    let operation = &openapi["paths"]["/api/reload"]["post"];
    let folder = tempfile::tempdir().unwrap();
    let new = format!("{APP}timeouts.read = \"30s\"\nhealth.path = \"/h\"\n[route.api]\npath = \"/api\"\n");
    let new = new.replace("health.type = \"off\"\n", "").replace("127.0.0.1:9", "127.0.0.1:8");
    let told = changes(&Config::from_toml(APP).unwrap(), &Config::from_toml(&new).unwrap());
    let (error, _) = wrong(folder.path());
    let LoadError::Problems(warnings) = wrong(folder.path()).0 else { panic!("no problems") };
    for (came, status) in [
        (Ok(Told { changes: told, warnings }), 200),
        (Err(Refused::Config(error)), 422),
        (Err(Refused::Config(LoadError::NothingConfigured)), 422),
        (Err(Refused::Cannot("no".into())), 409),
    ] {
        let (answer, ()) = tokio::join!(post(alone.address, ""), alone.answers(came));
        assert_eq!(answer.status, status, "{answer:?}");
        assert_documented(&openapi, operation, "POST /api/reload", &answer);
        if status == 422 && answer.text().contains("soon") {
            let said: Value = serde_json::from_str(&answer.text()).unwrap();
            let keys: Vec<&Value> = said["problems"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
            assert_eq!(keys, ["pool.app.balanse", "pool.app.timeouts.read"], "{said:#}");
        }
    }
    let refused = post(alone.address, "Sec-Fetch-Site: cross-site\r\n").await;
    assert_eq!(refused.status, 403);
    assert_documented(&openapi, operation, "POST /api/reload by a foreign page", &refused);
}
