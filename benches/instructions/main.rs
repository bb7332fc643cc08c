//! Instructions that the pure parts of a request take, counted by valgrind: a busy machine counts as a quiet one does.
//!
//! `cargo bench` runs each of the [`cases`] in a process of its own under callgrind, and prints the mean of its calls
//! beside that of the last run. `cargo bench -- pick log` runs those whose names contain one of the words. Without
//! `--bench`, which `cargo bench` adds, each runs once and nothing is counted: `cargo test --bench instructions`.

mod balance;
mod cases;
mod codec;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

/// As the program has it: what is allocated is part of the count.
#[global_allocator]
static ALLOCATOR: causeway::sys::Allocator = causeway::sys::Allocator;

/// The word in front of a case's name that asks for that case alone, in this process.
const ALONE: &str = "--alone";
/// Calls that are not counted, so that what happens once has happened.
const BEFORE: usize = 20;
/// Calls that are counted.
const CALLS: u64 = 200;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [ALONE, name] => alone(name),
        [.., "--bench"] => all(&words[..words.len() - 1]),
        _ => {
            cases::ALL.iter().for_each(|(_, prepare)| prepare()());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn all(wanted: &[String]) -> Result<(), String> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("instructions-{profile}.txt"));
    let mut known = last_run(&file);
    println!("{:<44} {:>12} {:>12}", format!("instructions for each call, {profile}"), "now", "last run");
    for (name, _) in cases::ALL {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(&**word)) {
            let now = count(name)?;
            match known.insert((*name).to_owned(), now) {
                Some(last) if last != now => println!("{name:<44} {now:>12} {last:>12} {:>+7.1} %", change(last, now)),
                Some(_) => println!("{name:<44} {now:>12} {:>12}", "the same"),
                None => println!("{name:<44} {now:>12} {:>12}", "-"),
            }
        }
    }
    let text: String = known.iter().map(|(name, count)| format!("{count} {name}\n")).collect();
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn last_run(file: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let row = |line: &str| line.split_once(' ').and_then(|(n, name)| Some((name.to_owned(), n.parse().ok()?)));
    text.lines().filter_map(row).collect()
}

#[allow(clippy::cast_precision_loss)] // of a percentage
fn change(last: u64, now: u64) -> f64 {
    (now as f64 / last.max(1) as f64 - 1.0) * 100.0
}

/// Runs one case under callgrind.
fn count(name: &str) -> Result<u64, String> {
    let own = env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(own)
        .args([ALONE, name])
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "instructions are counted by valgrind, which is not installed".to_owned(),
            _ => format!("valgrind: {error}"),
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let total: Option<u64> = said
        .lines()
        .filter_map(|line| line.split_once("Collected : "))
        .find_map(|(_, total)| total.split_whitespace().next()?.parse().ok());
    match total.filter(|total| *total > 0 && output.status.success()) {
        Some(total) => Ok(total / CALLS),
        None => Err(format!("{name}: no count ({}):\n{said}", output.status)),
    }
}

/// Runs one case, here.
fn alone(name: &str) -> Result<(), String> {
    let (_, prepare) =
        cases::ALL.iter().find(|(known, _)| *known == name).ok_or(format!("no case is called {name}"))?;
    let mut case = prepare();
    for _ in 0..BEFORE {
        case();
    }
    for _ in 0..CALLS {
        measured(&mut *case);
    }
    Ok(())
}

/// The function that callgrind counts in, known to it by its name.
#[inline(never)]
fn measured(case: &mut dyn FnMut()) {
    black_box(case)();
}
