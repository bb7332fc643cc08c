//! Signals: TERM and INT drain, a second one stops at once; HUP reloads; USR1 reopens log files; USR2 is taken, so that
//! it kills nobody.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// TERM, INT, QUIT: which one.
    End(&'static str),
    /// USR1.
    ReopenLogs,
    /// HUP.
    Reload,
}

/// All handlers, installed.
#[derive(Debug)]
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Installs them. Must run inside a runtime.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one that asks for the end, and nothing else: the others wait until somebody asks for them.
    pub(super) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "TERM",
            _ = self.int.recv() => "INT",
            _ = self.quit.recv() => "QUIT",
        }
    }

    /// The next one that asks for something.
    pub(super) async fn next(&mut self) -> Ask {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Ask::End("TERM"),
                _ = self.int.recv() => return Ask::End("INT"),
                _ = self.quit.recv() => return Ask::End("QUIT"),
                _ = self.hup.recv() => return Ask::Reload,
                _ = self.usr1.recv() => return Ask::ReopenLogs,
                _ = self.usr2.recv() => {}
            }
        }
    }
}
