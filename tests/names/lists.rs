//! `upstreams_file`: a list that something else keeps.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Instance, Load, dns::Dns, ids, instances, until, until_ready, until_stale};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

/// In place of the file, at once.
fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

fn list(targets: &[SocketAddr]) -> String {
    let targets: Vec<_> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    format!("[{{\"targets\": [{}], \"labels\": {{\"job\": \"app\"}}}}]", targets.join(", "))
}

fn config(file: &Path, more: &str) -> String {
    format!("{more}\n[pool.app]\nupstreams_file = \"{}\"\n[pool.app.health]\ninterval = \"200ms\"\n", file.display())
}

#[tokio::test]
async fn a_list_changes_under_load_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apps.json");
    let mut apps = instances(&[1, 2, 3]).await;
    let at: Vec<_> = apps.iter().map(|app| app.at).collect();
    fs::write(&file, list(&at[..2])).unwrap();
    let proxy = Proxy::start(&config(&file, ""));
    until_ready(&proxy, &[&at[0].to_string(), &at[1].to_string()]).await;
    let load = Load::on(&proxy, 4);
    replace(&file, &list(&at[1..]));
    until_ready(&proxy, &[&at[1].to_string(), &at[2].to_string()]).await;
    apps.remove(0).stop().await;
    // Broken, then gone: the last good list stays.
    replace(&file, "[{\"targets\": [\"127.0.0.1:1\",]}]");
    let called = format!("upstreams_file {}", file.display());
    let said = |part: &'static str| {
        let called = called.clone();
        move |stale: &[causeway::pool::stale::Stale]| {
            stale.len() == 1 && stale[0].source == called && stale[0].kept == 2 && stale[0].said.contains(part)
        }
    };
    until_stale(&proxy, "broken", said("trailing comma")).await;
    assert_eq!(ids(&proxy), [at[1].to_string(), at[2].to_string()]);
    fs::remove_file(&file).unwrap();
    until_stale(&proxy, "gone", said("there is no such file; the last good list stays in use, with 2 targets.")).await;
    assert_eq!(ids(&proxy), [at[1].to_string(), at[2].to_string()]);
    replace(&file, &list(&at[2..]));
    until_ready(&proxy, &[&at[2].to_string()]).await;
    until_stale(&proxy, "mended", <[_]>::is_empty).await;
    assert!(load.end().await > 100);
}

#[tokio::test]
async fn a_link_that_is_turned_to_another_folder_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    let apps = instances(&[1, 2]).await;
    for (version, app) in ["..2026_1", "..2026_2"].iter().zip(&apps) {
        fs::create_dir(inside(version)).unwrap();
        fs::write(inside(version).join("apps.json"), list(&[app.at])).unwrap();
    }
    // As Kubernetes does it: apps.json -> ..data/apps.json, ..data -> ..2026_1, and that link is replaced by a rename.
    symlink("..2026_1", inside("..data")).unwrap();
    symlink("..data/apps.json", inside("apps.json")).unwrap();
    let proxy = Proxy::start(&config(&inside("apps.json"), ""));
    until_ready(&proxy, &[&apps[0].at.to_string()]).await;
    symlink("..2026_2", inside("..data_tmp")).unwrap();
    fs::rename(inside("..data_tmp"), inside("..data")).unwrap();
    until_ready(&proxy, &[&apps[1].at.to_string()]).await;
}

#[tokio::test]
async fn a_missing_list_stops_no_start_and_an_empty_one_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apps.json");
    let proxy = Proxy::start(&config(&file, "errors.detail = \"full\""));
    until(&proxy, "read", |members| members[0].nameless()).await;
    let mut client = Raw::connect(proxy.address).await;
    let said = client.get("/").await.text();
    assert!(said.contains("There is no list of upstreams") && said.contains("there is no such file"), "{said}");
    replace(&file, "[]");
    until(&proxy, "empty", |members| members.is_empty()).await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, 502);
    assert!(answer.field("proxy-status").unwrap().contains("destination_unavailable"));
    assert!(answer.text().contains("no upstream"), "{}", answer.text());
    let app = Instance::at(1, 0).await;
    replace(&file, &list(&[app.at]));
    until_ready(&proxy, &[&app.at.to_string()]).await;
    assert_eq!(client.get("/").await.text(), app.at.to_string());
}

#[tokio::test]
async fn targets_may_be_names_and_stand_beside_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apps.json");
    let apps = instances(&[1, 2, 3]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[2, 3]);
    let text = format!(
        "[{{\"targets\": [\"app.test:{port}\"], \"labels\": {{\"name\": \"b\", \"weight\": \"7\", \"backup\": \"true\"}}}},
          {{\"targets\": [\"127.0.0.1:{port}\"]}}]"
    );
    fs::write(&file, text).unwrap();
    let top = format!("name_servers = [\"{}\"]", dns.at);
    let beside = format!("upstreams_file = \"{}\"\nupstreams = [\"127.0.0.1:{port}\"]", file.display());
    let text = config(&file, &top).replace(&format!("upstreams_file = \"{}\"", file.display()), &beside);
    let proxy = Proxy::start(&text);
    until_ready(&proxy, &[&format!("127.0.0.1:{port}"), "b@127.0.0.2", "b@127.0.0.3"]).await;
    let members = proxy.server().pools()[0].members();
    assert_eq!(
        members.iter().map(|one| (one.weight, one.backup)).collect::<Vec<_>>(),
        [(1, false), (7, true), (7, true)]
    );
    dns.a("app.test", 0, &[3]);
    until_ready(&proxy, &[&format!("127.0.0.1:{port}"), "b"]).await;
}
