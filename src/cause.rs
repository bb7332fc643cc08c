//! The closed vocabulary of failures: one enum, one table, many readers.
//!
//! Health checks, attempts, logs, metric labels, the error body and the pages all read this table; nothing else
//! decides what a failure is called, whose fault it is, or whether another upstream may be tried. This file never
//! classifies an error (that is done where the phase is known, in `client` and `proxy`) and does no I/O.

pub mod alert;
pub mod columns;
mod failure;
mod finding;
mod lore;
mod oversize;
mod place;
pub mod protocol;
mod spoken;
mod table;

use std::fmt;

pub use failure::Failure;
pub use finding::Finding;
pub use lore::Lore;
pub use oversize::Oversize;
pub use place::{bare, command_at};
pub use spoken::{capitalised, escape, exact, sized, spoken};
pub use table::Cause;

/// Where in an exchange a failure happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before any upstream was chosen, or while waiting for a slot.
    Queue,
    /// Turning a name into addresses.
    Resolve,
    /// Opening the connection.
    Connect,
    /// Making it a TLS session.
    Tls,
    /// Sending the request.
    Request,
    /// Waiting for, or reading, the response head.
    Head,
    /// Reading the response body.
    Body,
}

impl Phase {
    /// The word of log, metric and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Request => "request",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// Whose fault a failure is: who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The app or its host.
    Upstream,
    /// Names, routes and wires between causeway and the app.
    Network,
    /// The client's request or its leaving.
    Client,
    /// causeway's own limits, configuration or bugs.
    Proxy,
}

/// May another upstream be tried after this failure? (CAUSES: column `retry`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was sent: any method.
    Any,
    /// As the request allows: any method if nothing was sent, else idempotent methods only.
    Idempotent,
    /// Never: the same would happen again, or nobody is left to answer.
    Never,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The word everywhere: log, metric label, body, page.
    pub token: &'static str,
    /// RFC 9209 §2.3 proxy error type; empty where no response is ever made.
    pub rfc9209: &'static str,
    /// The status when this is the only kind of failure. 0: never a status of its own.
    pub status: u16,
    /// The phase it normally happens in.
    pub phase: Phase,
    /// Who has to change something.
    pub fault: Fault,
    /// May another upstream be tried?
    pub retry: Retry,
    /// Counted as a timeout by the 504 rule (CONTRACT §3).
    pub timeout: bool,
    /// One sentence: what it means, for a heading.
    pub means: &'static str,
    /// A clause about the upstream that was named just before (`nothing listens there`), filled in like `hint`.
    pub short: &'static str,
    /// A bare fact for `message` and log (`connection refused`), filled in like `hint`.
    pub message: &'static str,
    /// What is the matter, then what to do: sentences for the operator, `{address}` `{limit}` `{seen}` filled in; see
    /// [`Failure::hint`].
    pub hint: &'static str,
    /// The command to type next, `{address}` filled in; empty when there is none.
    pub command: &'static str,
}

impl Cause {
    /// The word for log, metric label, body and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        self.row().token
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_unique_and_snake_case() {
        let mut seen = HashSet::new();
        for cause in Cause::ALL {
            let token = cause.token();
            assert!(seen.insert(token), "{token} stands twice");
            assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()), "{token}");
        }
    }

    #[test]
    fn untrusted_bytes_come_out_printable() {
        assert_eq!(escape(b"SSH-2.0\r\n\x1b[31m\"it's\""), "SSH-2.0\\r\\n\\x1b[31m\"it's\"");
    }
}
