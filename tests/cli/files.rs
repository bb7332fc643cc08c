//! Files that are named and are none: a pipe that nobody writes to, a folder, a device without an end.

use super::*;

/// Ends by itself, with this code and this in its words.
fn says(words: &[&str], at: &std::path::Path, code: i32, parts: &[&str]) {
    let mut command = causeway(words);
    let child = command.current_dir(at).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, end) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
    let Ok(out) = end.recv_timeout(PATIENCE) else {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        panic!("{words:?} waits");
    };
    waits.join().unwrap().unwrap();
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.code() == Some(code) && parts.iter().all(|part| said.contains(part)), "{words:?}: {said}");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    folder
}

#[test]
fn a_config_that_is_no_file_is_said() {
    let folder = folder();
    for (name, what) in [("pipe", "it is a pipe"), ("folder", "it is a folder"), ("/dev/zero", "it is a device")] {
        for words in [&["check", name][..], &["run", "--config", name], &["probe", "--config", name]] {
            says(words, folder.path(), 78, &[&format!("Cannot read {name}: {what}, and not a regular file.")]);
        }
    }
    // What nobody has named is looked for, and is none either.
    std::fs::create_dir(folder.path().join("causeway.toml")).unwrap();
    says(&["check"], folder.path(), 78, &["Cannot read causeway.toml: it is a folder"]);
}

#[test]
fn a_config_may_be_handed_over() {
    let mut child = causeway(&["check", "/dev/stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && text(&out.stdout).contains("/dev/stdin is fine"), "{out:?}");
}

#[test]
fn what_a_config_names_must_be_a_file_too() {
    let folder = folder();
    for name in ["pipe", "folder", "/dev/zero"] {
        for text in [
            format!("[errors]\npage = \"{name}\"\n[pool.app]\nupstreams = [\"3000\"]\n"),
            format!(
                "[route.a]\nrespond.file = \"{name}\"\n[pool.app]\nupstreams = [\"3000\"]\n[route.b]\npath=\"/b\"\n"
            ),
            format!("[admin]\ntoken_file = \"{name}\"\n[pool.app]\nupstreams = [\"3000\"]\n"),
        ] {
            std::fs::write(folder.path().join("a.toml"), text).unwrap();
            says(&["check", "a.toml"], folder.path(), 78, &["cannot read ", ", and not a regular file", name]);
        }
        let words = ["drain", "app/a:1", "--token-file", name, "--admin", "127.0.0.1:1"];
        says(&words, folder.path(), 1, &["cannot read the token file ", "not a regular file"]);
    }
}
