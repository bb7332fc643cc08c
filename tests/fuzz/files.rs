//! Any bytes as what an operator writes: a config, an upstreams_file, an address, a length of time. Nothing panics, and
//! what is said of them is plain text, whatever they hold.

#![no_main]

use std::path::Path;

use causeway::config::document::document;
use causeway::config::{Address, Config, problem, targets, units};
use causeway::observe::TraceId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [kind, bytes @ ..] = bytes else { return };
    match kind % 3 {
        0 => config(bytes),
        1 => match targets::parse(Path::new("upstreams.json"), bytes) {
            Ok(entries) => assert!(entries.len() <= targets::MOST),
            Err(problem) => plain(&problem.to_string()),
        },
        _ => words(bytes),
    }
});

fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::from_toml(text) {
        Ok(config) => drop(document(&config).to_string()),
        Err(problems) => {
            assert!(!problems.is_empty());
            plain(&problem::render(&problems));
        }
    }
}

fn words(bytes: &[u8]) {
    let _ = TraceId::of(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Address::parse(text) {
        // It is written as it can be read.
        Ok(address) => assert_eq!(Address::parse(&address.to_string()).ok(), Some(address), "{text}"),
        Err(wrong) => plain(&wrong.to_string()),
    }
    match units::duration(text) {
        Ok(duration) => drop(units::duration_text(duration)),
        Err(wrong) => plain(&wrong.to_string()),
    }
    match units::size(text) {
        Ok(size) => drop(units::size_text(size)),
        Err(wrong) => plain(&wrong.to_string()),
    }
}

fn plain(said: &str) {
    let control = said.chars().find(|c| c.is_control() && *c != '\n');
    assert!(control.is_none(), "{said:?}");
}
