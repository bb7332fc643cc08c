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
    for command in ["run", "demo", "check", "origin", "healthcheck"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
    }
    assert!(help.lines().count() < 25, "{help}");
}

#[test]
fn help_is_ascii_and_narrow() {
    for words in [&["run", "--help"][..], &["origin", "--help"], &["healthcheck", "--help"], &["demo", "--help"]] {
        let out = output(words);
        let help = text(&out.stdout);
        assert!(out.status.success() && help.is_ascii(), "{help}");
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }
}
