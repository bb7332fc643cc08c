//! What a closer look has found about a failure: the sentence that makes a hint specific, and what to do. It looks at
//! nothing itself.

use super::Cause;

/// More than the failure itself says: seen by a look at the upstream, or learnt from what it did before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The failure that it explains.
    pub cause: Cause,
    /// Whole sentences, printable ASCII: `But 127.0.0.1:3000 answers HTTP (200, 1.8 ms). Did you mean 3000?`
    pub sentence: String,
    /// It takes the place of the remedy of the table: what that asks is answered here.
    pub answers: bool,
    /// What to write in the config, if that is the remedy: `upstreams = ["127.0.0.1:3000"]`.
    pub write: Option<String>,
    /// The command to type, where another one than the cause's own helps more.
    pub command: Option<String>,
}

impl Finding {
    /// About this failure, this. It stands in place of the remedy of the table.
    #[must_use]
    pub fn new(cause: Cause, sentence: impl Into<String>) -> Self {
        Self { cause, sentence: sentence.into(), answers: true, write: None, command: None }
    }

    /// The same, as an addition to the remedy of the table.
    #[must_use]
    pub const fn besides(mut self) -> Self {
        self.answers = false;
        self
    }

    /// The same, with what to write in the config.
    #[must_use]
    pub fn write(mut self, line: impl Into<String>) -> Self {
        self.write = Some(line.into());
        self
    }

    /// The same, with a command.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Behind the sentence that says what is the `matter`, or behind the `whole` of what is said of the failure. Where
    /// the one ends in the other only a template can tell: what an upstream sent may look like the end of a sentence.
    #[must_use]
    pub fn behind(&self, matter: &str, whole: &str) -> String {
        let before = if self.answers { matter } else { whole }.trim_end_matches(['.', ' ']);
        let stop = if before.ends_with(['?', '!']) { "" } else { "." };
        format!("{before}{stop} {}", self.sentence)
    }
}
