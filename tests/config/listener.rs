//! `[listener.NAME]`, as far as the words for its problems do not show it.

use causeway::config::Config;
use causeway::config::model::Protocols;

use super::check;

#[test]
fn a_listener_speaks_what_it_says() {
    for (said, h1, h2) in [
        ("", true, true),
        ("protocols = [\"h1\"]", true, false),
        ("protocols = [\"h2\"]", false, true),
        ("protocols = [\"h2\", \"h1\"]", true, true),
    ] {
        let text = format!("[listener.web]\naddress = \":8080\"\n{said}\n[pool.app]\nupstreams = [\"3000\"]\n");
        let config = Config::from_toml(&text).unwrap();
        assert_eq!(config.listeners[0].protocols, Protocols { h1, h2 }, "{said}");
    }
}

/// Line, severity and words of all that is said of a listener; its keys begin in line 2.
fn said_of(keys: &str) -> Vec<String> {
    let text = format!("[listener.web]\n{keys}\n[pool.app]\nupstreams = [\"3000\"]\n");
    let said = match check(&text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let line = |problem: &causeway::config::Problem| {
        let (line, _) = problem.place.line_and_column().unwrap();
        format!("{line} {:?} {}; {:?}", problem.severity, problem.message, problem.hint)
    };
    said.iter().map(line).collect()
}

#[test]
fn sockets_that_are_no_ports_are_told_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    for fine in [
        format!("address = \"unix:{here}/causeway.sock\""),
        "address = \"unix:@causeway\"".into(),
        "address = \"fd:web\"".into(),
        "address = \":8080\"\nproxy_protocol = [\"10.0.0.0/8\", \"loopback\"]".into(),
        format!("address = \"unix:{here}/causeway.sock\"\nproxy_protocol = [\"loopback\"]"),
    ] {
        assert_eq!(said_of(&fine), [] as [&str; 0], "{fine}");
    }
    for (keys, at, wanted) in [
        ("address = \"unix:run/causeway.sock\"".into(), "2 Error", "begins with /"),
        ("address = \"fd:\"".into(), "2 Error", "FileDescriptorName="),
        ("address = \"fd:a:b\"".into(), "2 Error", "FileDescriptorName="),
        (format!("address = \"unix:{here}/none/causeway.sock\""), "2 Warning", "there is no folder"),
        (
            format!("address = \"unix:{here}/causeway.sock\"\nproxy_protocol = [\"10.0.0.0/8\"]"),
            "3 Warning",
            "counts as 127.0.0.1",
        ),
        ("address = \":8080\"\nproxy_protocol = [\"load balancer\"]".into(), "3 Error", "load balancer"),
        ("address = \":8080\"\nproxy_protocol = [\"0.0.0.0/0\"]".into(), "3 Warning", ""),
        ("address = \":8080\"\nproxy_protocol = true".into(), "3 Error", ""),
    ] {
        let said = said_of(&keys);
        assert!(said.len() == 1 && said[0].starts_with(at) && said[0].contains(wanted), "{keys}: {said:?}");
    }
}
