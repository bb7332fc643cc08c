//! `causeway status` and the switches as a person types them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn the_table_and_its_exit_codes() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let (proxy, admin) = looked_into(&pool(&[origin.address()], ""));
    Raw::connect(proxy.address).await.get("/").await;
    proxy.exchange(0).await;
    let out = causeway(admin, &["status"]).await;
    let table = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{table}");
    let mut lines = table.lines();
    let head = lines.next().unwrap();
    assert!(head.starts_with("causeway 0.1.0, up ") && head.ends_with(", serving, no config file"), "{table}");
    assert!(lines.next().unwrap().starts_with("app   1 of 1 usable, "), "{table}");
    assert!(lines.next().unwrap().starts_with("  UPSTREAM  "), "{table}");
    assert!(lines.next().unwrap().starts_with(&format!("  {}", origin.address())), "{table}");
    assert!(!table.contains('\u{1b}') && table.lines().all(|line| line.len() <= 80));

    let out = causeway(admin, &["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &status["pools"][0]["usable"]), (Some(0), &1.into()));

    causeway(admin, &["disable", &format!("app/{}", origin.address())]).await;
    let out = causeway(admin, &["status"]).await;
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("disabled") && text(&out.stdout).contains("app   0 of 1 usable"), "{out:?}");
}

#[tokio::test]
async fn no_proxy_is_69_for_each_of_them() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for words in [&["status"][..], &["status", "--json"], &["drain", "a/b"], &["enable", "a/b"], &["disable", "a/b"]] {
        let out = causeway(free, words).await;
        assert_eq!(out.status.code(), Some(69), "{words:?} {out:?}");
        let said = text(&out.stderr);
        assert!(
            said.starts_with(&format!("causeway {}: nothing listens on", words[0])) && said.contains("--admin"),
            "{said}"
        );
    }
    // Somebody else's server is no proxy either.
    let other = Origin::start(Behaviour::Ok("{".into())).await;
    assert_eq!(causeway(other.address(), &["status"]).await.status.code(), Some(69));
    let other = Origin::start(Behaviour::Garbage).await;
    assert_eq!(causeway(other.address(), &["status"]).await.status.code(), Some(69));
}

#[tokio::test]
async fn watching_goes_on_when_the_proxy_is_gone() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let (proxy, admin) = looked_into(&pool(&[origin.address()], ""));
    let words = ["status", "--watch", "--admin", &admin.to_string()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    let mut child = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let id = Pid::from_child(&child);
    let out = child.stdout.take().unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("app   1 of 1 usable")));
        assert!(lines.any(|line| line.starts_with("app   1 of 1 usable")), "it looks again");
        drop(proxy);
        let gone = lines.find(|line| line.starts_with("No proxy: ")).expect("it says so");
        assert!(lines.any(|line| line.starts_with("No proxy: ")), "and goes on trying");
        kill_process(id, Signal::INT).unwrap();
        (gone, child.wait().unwrap())
    });
    let (gone, ended) = seen.await.unwrap();
    assert!(gone.contains("nothing listens on"), "{gone}");
    assert_eq!(ended.code(), Some(69), "the last look decides");
}

#[tokio::test]
async fn the_token_is_read_from_its_file() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let folder = tempfile::TempDir::new().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, "s3cret-s3cret-s3cret\n").unwrap();
    std::fs::write(&wrong, "another-another-another\n").unwrap();
    let top = format!("admin.token_file = \"{}\"\n", right.display());
    let (_proxy, admin) = looked_into(&(top + &pool(&[origin.address()], "")));
    let name = format!("app/{}", origin.address());
    let file = |path: &std::path::Path| path.display().to_string();
    assert_eq!(causeway(admin, &["drain", &name, "--token-file", &file(&right)]).await.status.code(), Some(0));
    let out = causeway(admin, &["drain", &name, "--token-file", &file(&wrong)]).await;
    assert_eq!(
        (out.status.code(), text(&out.stderr)),
        (Some(1), "causeway drain: This is not the token of admin.token_file.\n".into())
    );
    let out = causeway(admin, &["drain", &name, "--token-file", &file(&folder.path().join("none"))]).await;
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("cannot read the token file"), "{out:?}");
}

/// Schemes, sockets and brackets are parts of names, for the commands, the path and whoever looks.
#[tokio::test]
async fn names_with_slashes_and_brackets_are_taken_as_they_are_told() {
    let ids = ["https://127.0.0.1:9", "unix:/run/nobody/app.sock", "h2c://127.0.0.1:10", "[::1]:3000", "localhost:9"];
    let list = ids.map(|id| format!("\"{id}\"")).join(", ");
    let (_proxy, admin) = looked_into(&format!("[pool.app]\nupstreams = [{list}]\nhealth.type = \"off\"\n"));
    let states = async || {
        let out = causeway(admin, &["status", "--json"]).await;
        let status: Value = serde_json::from_slice(&out.stdout).unwrap();
        let of = |one: &Value| [&one["upstream"], &one["state"]].map(|word| word.as_str().unwrap().to_owned());
        status["pools"][0]["upstreams"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    for (word, state) in [("drain", "draining"), ("disable", "disabled"), ("enable", "ready")] {
        for id in ids {
            let out = causeway(admin, &[word, &format!("app/{id}")]).await;
            let said = text(&out.stdout);
            assert!(out.status.success() && said.starts_with(&format!("app/{id} is {state} (it was ")), "{out:?}");
        }
        assert_eq!(states().await, ids.map(|id| [id.to_owned(), state.to_owned()]));
    }
    // As a file takes them, too.
    for typed in ["HTTPS://127.0.0.1:9", "http://[::1]:3000", "9"] {
        let out = causeway(admin, &["drain", &format!("app/{typed}")]).await;
        assert!(out.status.success() && text(&out.stdout).contains(" is draining (it was ready)"), "{typed}: {out:?}");
    }
    let out = causeway(admin, &["drain", "app/https://127.0.0.1:11"]).await;
    assert!(
        text(&out.stderr).starts_with("causeway drain: there is no upstream app/https://127.0.0.1:11. "),
        "{out:?}"
    );
    // In the path, escaped or not.
    for (id, body) in [(ids[0], "draining"), (ids[1], "disabled"), (ids[3], "enabled")] {
        let escaped: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for id in [id, &escaped] {
            let target = format!("/api/pools/%61pp/upstreams/{id}/state");
            let answer = ask(admin, "PUT", &target, "", &format!("{{\"state\":\"{body}\"}}")).await;
            assert_eq!(answer.status, 200, "{target} {answer:?}");
        }
    }
    let wanted = ["draining", "disabled", "ready", "ready", "draining"];
    assert_eq!(states().await.iter().map(|[_, state]| &**state).collect::<Vec<_>>(), wanted);
    assert_eq!(ask(admin, "GET", "/readyz?pool=%61pp", "", "").await.status, 200);
}
