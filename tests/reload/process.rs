//! The real program: signals, a file that is watched, an admin that is asked; what it says, and what it goes on with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::support::origin::Origin;
use crate::support::process::{Causeway, PATIENCE};

/// Answers by itself with this body.
pub(super) fn says(listen: &str, body: &str) -> String {
    format!(
        "listen = \"{listen}\"\n[admin]\naddress = \"127.0.0.1:0\"\n[pool.app]\nupstreams = [\"127.0.0.1:9\"]\n\
         health.type = \"off\"\n[route.main]\nrespond = {{ body = \"{body}\" }}\n"
    )
}

pub(super) fn get(address: SocketAddr, target: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1.to_owned()
}

#[test]
fn hup_reloads_and_a_bad_file_changes_nothing() {
    let (mut causeway, address) = Causeway::run(&says("127.0.0.1:0", "one"));
    assert_eq!(get(address, "/"), "one");
    causeway.write(&says("127.0.0.1:0", "two"));
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    assert_eq!(get(address, "/"), "two");
    causeway.write("lissten = \":1\"\n");
    causeway.signal(Signal::HUP);
    let refused = causeway.event("\"event\":\"config_refused\"");
    assert!(refused.contains("lissten") && refused.contains("the old one stays in force"), "{refused}");
    assert_eq!(get(address, "/"), "two");
    std::fs::remove_file(causeway.folder().join("causeway.toml")).unwrap();
    causeway.signal(Signal::HUP);
    let refused = causeway.event("\"event\":\"config_refused\"");
    assert!(refused.contains("causeway.toml"), "{refused}");
    causeway.write(&says("127.0.0.1:0", "three"));
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    assert_eq!(get(address, "/"), "three");
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A port that somebody else has: told, and the rest of the file is not applied either.
#[test]
fn a_taken_port_refuses_the_whole() {
    let (mut causeway, address) = Causeway::run(&says("127.0.0.1:0", "one"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    causeway.write(&format!("{}[listener.second]\naddress = \"{place}\"\n", says("127.0.0.1:0", "two")));
    causeway.signal(Signal::HUP);
    let refused = causeway.event("\"event\":\"config_refused\"");
    assert!(refused.contains("listener second") && refused.contains(&place.port().to_string()), "{refused}");
    assert_eq!(get(address, "/"), "one");
    drop(taken);
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    assert_eq!((get(address, "/").as_str(), get(place, "/").as_str()), ("two", "two"));
}

/// What was in its way has gone: the watched file is taken up without another change of it, and the wait is silent.
#[test]
fn a_watched_change_that_was_refused_is_tried_again() {
    let (mut causeway, address) = Causeway::run_watching(&says("127.0.0.1:0", "one"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    causeway.write(&format!("{}[listener.second]\naddress = \"{place}\"\n", says("127.0.0.1:0", "two")));
    causeway.event("\"event\":\"config_refused\"");
    assert_eq!(get(address, "/"), "one");
    drop(taken);
    let said = causeway.event("\"event\":\"config_reloaded\"");
    assert!(said.contains("--watch"), "{said}");
    assert_eq!((get(address, "/").as_str(), get(place, "/").as_str()), ("two", "two"));
}

#[test]
fn a_refusal_counts_problems_and_a_message_is_a_sentence() {
    let (mut causeway, _) = Causeway::run(&says("127.0.0.1:0", "one"));
    causeway.write("lissten = \":1\"\nworkers = \"many\"\n[pool.app]\nupstreams = [\"127.0.0.1:9\"]\n");
    causeway.signal(Signal::HUP);
    let refused: serde_json::Value = serde_json::from_str(&causeway.event("\"event\":\"config_refused\"")).unwrap();
    let wanted = "configuration not reloaded, the old one stays in force (by HUP): 2 problems";
    assert_eq!((&refused["count"], &refused["message"]), (&2.into(), &wanted.into()));
    assert!(refused["why"].as_array().unwrap().len() > 4, "{refused:#}");
}

#[test]
fn without_a_file_flags_and_environment_are_read_again() {
    let mut causeway =
        Causeway::words(&["run", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9", "--admin", "off"]);
    causeway.address("listening on http://");
    causeway.signal(Signal::HUP);
    let told = causeway.event("\"event\":\"config_reloaded\"");
    assert!(told.contains("flags and environment were read again, there is no config file"), "{told}");
}

#[test]
fn the_admin_moves_and_ends() {
    let (mut causeway, address) = Causeway::run(&says("127.0.0.1:0", "one"));
    let place = Origin::free();
    let moved = says("127.0.0.1:0", "two").replace("127.0.0.1:0\"\n[pool", &format!("{place}\"\n[pool"));
    assert!(moved.contains(&place.to_string()), "{moved}");
    causeway.write(&moved);
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    assert!(get(place, "/readyz").contains("ready"), "at its new place");
    // Elsewhere and at once back again, while it still answers here.
    for to in [Origin::free(), place] {
        causeway.write(&moved.replace(&place.to_string(), &to.to_string()));
        causeway.signal(Signal::HUP);
        causeway.event("\"event\":\"config_reloaded\"");
    }
    assert!(get(place, "/readyz").contains("ready"), "back");
    causeway.write(&moved.replace(&place.to_string(), "off"));
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    let begun = std::time::Instant::now();
    while TcpStream::connect(place).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "still there");
        std::thread::yield_now();
    }
    assert_eq!(get(address, "/"), "two");
}

#[test]
fn a_watched_file_is_taken_up() {
    let (mut causeway, address) = Causeway::run_watching(&says("127.0.0.1:0", "one"));
    causeway.write(&says("127.0.0.1:0", "two"));
    let told = causeway.event("\"event\":\"config_reloaded\"");
    assert!(told.contains("--watch"), "{told}");
    assert_eq!(get(address, "/"), "two");
    causeway.write("[pool.app\n");
    let told = causeway.event("\"event\":\"config_refused\"");
    assert!(told.contains("--watch"), "{told}");
    assert_eq!(get(address, "/"), "two");
    // As Kubernetes does it: a link is turned to another folder.
    let folder = causeway.folder().join("later");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("causeway.toml"), says("127.0.0.1:0", "three")).unwrap();
    symlink("later/causeway.toml", causeway.folder().join("link")).unwrap();
    std::fs::rename(causeway.folder().join("link"), causeway.folder().join("causeway.toml")).unwrap();
    causeway.event("\"event\":\"config_reloaded\"");
    assert_eq!(get(address, "/"), "three");
}

/// Where nothing is watched for, nothing is promised.
#[test]
fn to_watch_takes_a_file() {
    let (status, said) =
        Causeway::words(&["run", "--watch", "--upstream", "127.0.0.1:9", "--listen", "127.0.0.1:0"]).end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("--watch") && said.contains("--config"), "{said}");
}

/// The flags hold, whatever the file says now.
#[test]
fn without_a_file_the_same_words_are_read_again() {
    let words = ["run", "--upstream", "127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin", "off"];
    let mut causeway = Causeway::words(&words);
    let address = causeway.address("listening on http://");
    causeway.signal(Signal::HUP);
    let told = causeway.event("\"event\":\"config_reloaded\"");
    assert!(told.contains("HUP"), "{told}");
    assert!(!get(address, "/").is_empty());
}

/// Its last connections are counted where they were, and when it comes back it counts on.
#[test]
fn a_listener_that_leaves_is_in_the_numbers_while_it_drains() {
    let (place, admin) = (Origin::free(), Origin::free());
    let alone = says("127.0.0.1:0", "one").replace("127.0.0.1:0\"\n[pool", &format!("{admin}\"\n[pool"));
    let both = format!("{alone}[listener.second]\naddress = \"{place}\"\n");
    let (mut causeway, _) = Causeway::run(&both);
    causeway.event("\"event\":\"serving\"");
    let until = |what: &str, is: &dyn Fn(&str) -> bool| {
        let begun = std::time::Instant::now();
        while !is(&get(admin, "/metrics")) {
            assert!(begun.elapsed() < PATIENCE, "never {what}: {}", get(admin, "/metrics"));
            std::thread::yield_now();
        }
    };
    let has = |sample: &str| until(sample, &|page| page.lines().any(|line| line == sample));
    let mut client = TcpStream::connect(place).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    has("causeway_connections{listener=\"second\"} 1");
    causeway.write(&alone);
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    has("causeway_connections{listener=\"second\"} 1");
    assert!(get(admin, "/api/status").contains("\"draining\": true"), "{}", get(admin, "/api/status"));
    client.write_all(b"Host: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("one"), "{answer}");
    let count = "causeway_requests_total{listener=\"second\",route=\"main\",pool=\"\",method=\"GET\",code=\"200\"}";
    has(&format!("{count} 1"));
    until("closed", &|page| !page.contains("causeway_connections{listener=\"second\"}"));
    causeway.write(&both);
    causeway.signal(Signal::HUP);
    causeway.event("\"event\":\"config_reloaded\"");
    assert_eq!(get(place, "/"), "one");
    has(&format!("{count} 2"));
}
