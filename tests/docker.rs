//! The Dockerfile, read: its words are commands that exist, and the image is as small and as harmless as it says.

use std::process::Command;

use crate::support::source;

/// The instructions of the last stage, continued lines joined, comments left out.
fn last_stage() -> Vec<(String, String)> {
    let text = source::read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let all: Vec<_> = lines.filter_map(|l| l.split_once(' ')).map(|(a, b)| (a.into(), b.trim().into())).collect();
    let start = all.iter().rposition(|(word, _): &(String, String)| word == "FROM").expect("a FROM");
    all[start..].to_vec()
}

fn one(stage: &[(String, String)], word: &str) -> String {
    let found: Vec<_> = stage.iter().filter(|(w, _)| w == word).collect();
    assert_eq!(found.len(), 1, "{word} stands once");
    found[0].1.clone()
}

fn json_words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: not the JSON form, and there is no shell: {e}"))
}

#[test]
fn the_image_holds_one_binary_and_runs_as_nobody() {
    let stage = last_stage();
    assert_eq!(one(&stage, "FROM"), "scratch");
    assert_eq!(one(&stage, "USER"), "65532:65532", "numbers: scratch has no /etc/passwd");
    assert_eq!(one(&stage, "EXPOSE"), "8080");
    assert!(stage.iter().all(|(word, _)| word != "RUN"), "there is no shell to run anything");
    assert_eq!(json_words(&one(&stage, "ENTRYPOINT")), ["/causeway"]);
    assert!(one(&stage, "COPY").ends_with(" /causeway"), "the entry point is what was copied");
}

#[test]
fn its_commands_exist() {
    let stage = last_stage();
    let health = one(&stage, "HEALTHCHECK");
    let (_, health) = health.split_once("CMD ").expect("HEALTHCHECK … CMD");
    let health = json_words(health);
    assert_eq!(health[0], "/causeway", "the same binary: nothing else is there");
    for words in [&health[1..], &json_words(&one(&stage, "CMD"))] {
        let help = Command::new(env!("CARGO_BIN_EXE_causeway")).args(words).arg("--help").output().unwrap();
        assert!(help.status.success(), "causeway {}: {help:?}", words.join(" "));
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("causeway {}", words[0])), "not the help of {words:?}:\n{help}");
    }
}

/// What `.dockerignore` lets through is what the build needs, or the build fails on somebody else's machine.
#[test]
fn the_build_gets_what_it_needs_and_no_more() {
    let text = source::read(".dockerignore");
    let rules: Vec<_> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    assert_eq!(rules[0], "*", "nothing by default");
    for needed in ["!Cargo.toml", "!Cargo.lock", "!src", "!benches/peers", "!benches/profile"] {
        assert!(rules.contains(&needed), "{needed}");
    }
}

/// The build stage names a script, that one a profile and a binary of Cargo.toml; what is compiled in lies among what it
/// gets.
#[test]
fn the_build_names_what_there_is() {
    let (docker, manifest) = (source::read("Dockerfile"), source::read("Cargo.toml"));
    assert!(
        docker.contains(" benches/profile/build --locked\n")
            && docker.contains(" /build/target/dist/causeway /causeway\n")
    );
    let script = source::read("benches/profile/build");
    assert!(script.contains("\ncp ") && script.contains(" target/dist/causeway\n"), "where the image takes it from");
    assert!(script.contains("--profile dist") && manifest.contains("\n[profile.dist]\n"));
    assert!(script.contains("--bin causeway") && manifest.contains("[[bin]]\nname = \"causeway\"\n"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    assert!(docker.contains(&format!("org.opencontainers.image.version={version}")), "{version}");
    // A target without a path is looked for, and tests are not there.
    for target in manifest.split("\n[[").skip(1) {
        let lines = target.lines().take_while(|line| !line.is_empty());
        assert!(lines.filter(|line| line.starts_with("path = ")).count() == 1, "[[{target}");
    }
    for path in source::rust_files("src") {
        let text = source::read(&path);
        for file in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let folder = path.parent().unwrap().join(file);
            let mut there = std::path::PathBuf::new();
            for part in folder.components() {
                if part.as_os_str() == ".." {
                    there.pop();
                } else {
                    there.push(part);
                }
            }
            assert!(there.starts_with("src") || there.starts_with("config"), "{}: {file}", path.display());
        }
    }
}
