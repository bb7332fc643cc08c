//! Events about reloads of the configuration: what changed, or why nothing did. The admin counts them, for each
//! causeway its own.

use tracing::{error, info};

use crate::config::Change;
use crate::config::problem::ascii;

use super::{count, listed_lines};

/// A new configuration is in force. `by`: who asked for it, `HUP`, `--watch`, `the admin`.
pub fn config_reloaded(by: &str, changes: &[Change]) {
    let (number, lines) = (changes.len(), listed_lines(changes));
    let what = if changes.is_empty() { "nothing has changed".to_owned() } else { count(number, "change") };
    info!(
        event = "config_reloaded",
        by,
        count = number,
        list.changes = lines,
        "configuration reloaded: {what} (by {by})"
    );
}

/// A reload was asked for, and the old configuration stays in force. `why`: sentences for a person, or the problems as
/// `causeway check` prints them.
pub fn config_refused(by: &str, why: &str) {
    let message = "configuration not reloaded, the old one stays in force";
    match why.trim_end() {
        one if !one.contains('\n') => {
            let why = ascii(one);
            error!(event = "config_refused", by, why, "{message} (by {by}): {why}");
        }
        many => {
            let lines: Vec<_> = many.lines().collect();
            let number = lines.len();
            let lines = listed_lines(&lines);
            error!(event = "config_refused", by, count = number, list.why = lines, "{message} (by {by}):");
        }
    }
}
