//! `[listener.NAME.tls]`: everything that is wrong with its files at once, each with its place.

use super::*;
use crate::support::certificates::Authority;

/// What the words of others, and slips, are told.
#[test]
fn what_others_write_is_told_what_to_write_here() {
    for (tls, wanted) in [
        (
            "cert = \"site.pem\"\nkey = \"site.key\"",
            "write certificates = [{ cert = \"site.pem\", key = \"site.key\" }]",
        ),
        (
            "certificates = { cert = \"a.pem\", key = \"a.key\" }",
            "write certificates = [{ cert = \"site.pem\", key = \"site.key\" }]",
        ),
    ] {
        let text = format!(
            "[listener.web]\naddress = \":443\"\n[listener.web.tls]\n{tls}\n[pool.app]\nupstreams = [\"3000\"]\n"
        );
        let said = said(&text);
        assert!(said.contains(wanted) && !said.contains("this version"), "{said}");
    }
    for (tls, wanted) in [
        ("sni = \"a.test\"", "write server_name"),
        ("ca_file = \"a.pem\"", "write ca"),
        ("insecure = true", "write verify"),
    ] {
        let said = said(&format!("[pool.app]\nupstreams = [\"https://app\"]\n[pool.app.tls]\n{tls}\n"));
        assert!(said.contains(wanted), "{said}");
    }
}

/// The example is whole; the files that it names are the reader's.
#[test]
fn the_example_of_tls_loads_without_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (here, authority) = (folder.path(), Authority::new());
    authority.issue(&["shop.test"], 2040).write(here, "site");
    std::fs::set_permissions(here.join("site.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::copy(here.join("site.pem"), here.join("ca.pem")).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/tls.toml");
    let path = here.join("tls.toml");
    std::fs::copy(example, &path).unwrap();
    let loaded = loaded(&[path], &Flags::default(), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
}

/// With files in a folder of their own, whose name is taken out of what is said.
fn said_of(folder: &Path, tls: &str) -> String {
    let text =
        format!("[listener.web]\naddress = \":443\"\n[listener.web.tls]\n{tls}\n[pool.app]\nupstreams = [\"3000\"]\n");
    let place = folder.join("causeway.toml");
    let sources = gather(Some(File { name: "causeway.toml", text: &text }), &Flags::default(), &|_| None);
    let said = match compile(&sources, Some(&place)) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let line = |problem: &Problem| {
        let (line, _) = problem.place.line_and_column().unwrap();
        format!("{line} {:?} {}", problem.severity, problem.message.replace(&format!("{}/", folder.display()), ""))
    };
    said.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_are_read_and_all_is_said_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (here, authority) = (folder.path(), Authority::new());
    let old = authority.issue(&["shop.test", "*.shop.test"], 2021);
    for (name, issued) in
        [("a", authority.issue(&["shop.test"], 2040)), ("b", authority.issue(&["b.test"], 2040)), ("old", old)]
    {
        issued.write(here, name);
        std::fs::set_permissions(here.join(format!("{name}.key")), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(here.join("empty.pem"), "nothing").unwrap();
    std::fs::write(
        here.join("locked.key"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    std::fs::write(here.join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let pair = |cert: &str, key: &str| format!("{{ cert = \"{cert}\", key = \"{key}\" }}");
    let list = |pairs: &[String]| format!("certificates = [\n{}]", pairs.join(",\n"));

    assert_eq!(said_of(here, &list(&[pair("a.pem", "a.key"), pair("b.pem", "b.key")])), "");
    assert_eq!(
        said_of(
            here,
            &(list(&[
                pair("none.pem", "none.key"),
                pair("empty.pem", "a.key"),
                pair("a.key", "a.pem"),
                pair("a.pem", "b.key"),
                pair("a.pem", "locked.key"),
                pair("broken.pem", "a.key"),
                "\"a.pem\"".into(),
                "{ cert = \"a.pem\" }".into(),
            ]) + "\nclient_ca = \"empty.pem\"")
        ),
        "5 Error cannot read none.pem: No such file or directory (os error 2)\n\
         5 Error cannot read none.key: No such file or directory (os error 2)\n\
         6 Error there is no certificate in empty.pem\n\
         7 Error a.key holds a key, and no certificate\n\
         7 Error a.pem holds a certificate, and no key\n\
         8 Error the key in b.key is not the key of the certificate in a.pem\n\
         9 Error the key in locked.key is encrypted\n\
         10 Error a certificate in broken.pem is broken\n\
         11 Error a certificate is a table with two files, not text\n\
         12 Error this certificate has no `key`\n\
         13 Error there is no certificate in empty.pem"
    );
    std::fs::set_permissions(here.join("b.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = said_of(here, &list(&[pair("a.pem", "a.key"), pair("b.pem", "b.key"), pair("old.pem", "old.key")]));
    let (first, rest) = said.split_once('\n').unwrap();
    assert_eq!(first, "6 Warning everybody on this machine can read b.key, and so pass for this site");
    assert!(rest.starts_with("7 Warning the certificate in old.pem ended "), "{rest}");
    assert!(rest.ends_with("7 Warning shop.test has a certificate already (line 5)"), "{rest}");
    assert_eq!(said_of(here, ""), "3 Error [listener.web.tls] has no certificate");
}

#[test]
fn what_is_read_is_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let issued = Authority::new().issue(&["Shop.Test", "127.0.0.1"], 2040);
    issued.write(folder.path(), "a");
    let text = format!(
        "[listener.main.tls]\ncertificates = [{{ cert = \"{0}/a.pem\", key = \"{0}/a.key\" }}]\n[pool.app]\nupstreams = [\"3000\"]\n",
        folder.path().display()
    );
    let config = Config::from_toml(&text).unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].names, ["shop.test", "127.0.0.1"]);
    let key: String = issued.key.lines().filter(|line| !line.starts_with('-')).collect();
    let debug = format!("{config:?}");
    assert!(debug.contains("a.pem") && !debug.contains(&key[..20]) && !debug.contains("certified"), "{debug}");
}
