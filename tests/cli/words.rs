//! Words and sentences: usage errors, help, `check`.

use super::*;

#[test]
fn the_version_is_the_packages() {
    let out = output(&["--version"]);
    assert_eq!(text(&out.stdout), format!("causeway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_exit_2() {
    for wrong in [
        &["nonsense"][..],
        &[],
        &["run", "--nonsense"],
        &["origin", "--fail", "nonsense"],
        &["origin", "--fail", "dns_timeout"],
        &["origin", "--fail", "not_http:0"],
        &["origin", "--fail", "not_http", "--fail", "read_timeout"],
        &["origin", "--status", "99"],
        &["origin", "--delay", "3 sec"],
        &["demo", "--for", "soon"],
        &["probe", "--timeout", "soon"],
    ] {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
}

#[test]
fn an_impossible_fault_lists_the_possible_ones() {
    let said = text(&output(&["origin", "--fail", "connection_refused"]).stderr);
    assert!(said.contains("stop the origin") && said.contains("closed_without_response"), "{said}");
}

#[test]
fn alone_it_prints_short_help() {
    let out = output(&[]);
    let help = text(&out.stderr);
    for command in ["run", "demo", "check", "probe", "explain", "origin", "healthcheck"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
    }
    assert!(help.lines().count() < 25, "{help}");
}

#[test]
fn help_can_be_asked_for_by_its_name() {
    let run = text(&output(&["help", "run"]).stdout);
    assert!(run.contains("--upstream"), "{run}");
    let all = output(&["help"]);
    assert!(all.status.success() && text(&all.stdout).contains("healthcheck"), "{all:?}");
    assert!(text(&output(&["check", "--help"]).stdout).contains("exit code 1"));
}

#[test]
fn two_lines_are_two_lines() {
    let said = text(&output(&["run", "--config", "p.toml", "--upstream", "3000"]).stderr);
    assert!(said.contains("take one of them out.\nTo change the upstreams") && said.is_ascii(), "{said}");
}

#[test]
fn check_says_how_a_url_is_written() {
    for (url, part) in [
        ("reports.shop.example/x", "write http://reports.shop.example/x"),
        ("ftp://shop.example/", "write http://host/path or /path"),
    ] {
        let out = output(&["check", "--url", url]);
        assert!(out.status.code() == Some(2) && text(&out.stderr).contains(part), "{out:?}");
    }
}

#[test]
fn check_of_a_url_that_nothing_takes_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(
        &file,
        "[route.a]\nhosts = [\"a.example\"]\nmethods = [\"GET\"]\npool = \"p\"\n[pool.p]\nupstreams = [\"3000\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(code(&["check", file, "--url", "http://a.example/"]), 0);
    assert_eq!(code(&["check", file, "--url", "https://a.example/"]), 1, "no listener speaks TLS");
    assert_eq!(code(&["check", file, "--url", "http://b.example/"]), 1);
    assert_eq!(code(&["check", file, "--url", "http://a.example/", "--method", "POST"]), 1);
}

#[test]
fn help_is_ascii_and_narrow() {
    for words in [
        &["run", "--help"][..],
        &["origin", "--help"],
        &["healthcheck", "--help"],
        &["demo", "--help"],
        &["check", "--help"],
        &["probe", "--help"],
        &["explain", "--help"],
    ] {
        let out = output(words);
        let help = text(&out.stdout);
        assert!(out.status.success() && help.is_ascii(), "{help}");
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }
}

#[test]
fn an_id_can_look_like_anything() {
    // Nobody listens there: so somebody was asked.
    for words in [["explain", "--id", "read_timeout"], ["explain", "--id=--version-1", "--json"]] {
        assert_eq!(code(&[&words[..], &["--admin", "127.0.0.1:1"]].concat()), 69);
    }
    assert_eq!(code(&["explain", "read_timeout"]), 0);
    assert_eq!(code(&["explain", "--id", "a", "read_timeout"]), 2);
}
