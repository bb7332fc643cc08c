//! Events about reloads of the configuration: what changed, or why nothing did. The admin counts them, for each
//! causeway its own.

use tracing::{error, info};

use crate::config::Change;
use crate::config::problem::ascii;

use super::{count, listed_lines};

/// A new configuration is in force. `by`: who asked for it, `HUP`, `--watch`, `the admin`; `file`: is there a config
/// file?
pub fn config_reloaded(by: &str, changes: &[Change], file: bool) {
    let (number, lines) = (changes.len(), listed_lines(changes));
    let what = match number {
        0 if file => "nothing has changed".to_owned(),
        0 => "flags and environment were read again, there is no config file, and nothing has changed".to_owned(),
        _ => count(number, "change"),
    };
    info!(
        event = "config_reloaded",
        by,
        count = number,
        list.changes = lines,
        "configuration reloaded: {what} (by {by})"
    );
}

/// A reload was asked for, and the old configuration stays in force. `why`: sentences for a person, or the problems as
/// `causeway check` prints them; so many they are, where they are known one by one.
pub fn config_refused(by: &str, why: &str, problems: usize) {
    let message = "configuration not reloaded, the old one stays in force";
    match why.trim_end() {
        one if !one.contains('\n') => {
            let why = ascii(one);
            error!(event = "config_refused", by, why, "{message} (by {by}): {why}");
        }
        many => {
            let lines: Vec<_> = many.lines().collect();
            // What is no list of problems says in its first line what it is.
            let what = match problems {
                0 => ascii(lines.first().map_or("", |first| first.trim_end_matches([':', '.']))),
                _ => count(problems, "problem"),
            };
            let lines = listed_lines(&lines);
            error!(
                event = "config_refused",
                by,
                count = problems.max(1),
                list.why = lines,
                "{message} (by {by}): {what}"
            );
        }
    }
}
