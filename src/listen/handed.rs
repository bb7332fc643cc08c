//! Sockets that whoever started causeway opened and handed over (`fd:NAME`): systemd's socket activation,
//! sd_listen_fds(3).
//!
//! They are taken once, first thing in the program, and kept open to its end: whoever handed them over may hold them
//! too.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;

use super::bind::BindError;
use super::shared::{self, Shared};
use crate::cause::escape;
use crate::config::ListenAddress;
use crate::observe::events;
use crate::sys;

/// What sd_listen_fds(3) calls one without a name.
const NAMELESS: &str = "unknown";
/// Nobody hands over more; it bounds what a slip in LISTEN_FDS costs.
const MOST: usize = 1024;

/// With their names, in their order.
static HANDED: OnceLock<Vec<(String, OwnedFd)>> = OnceLock::new();

/// Takes what was handed over, if anything was, and takes its variables out of the environment, so that no child
/// believes them. To be called before any thread is started; afterwards it does nothing.
pub fn take() {
    HANDED.get_or_init(|| {
        let said = |name: &str| std::env::var(name).ok();
        let of = || names([said("LISTEN_PID"), said("LISTEN_FDS"), said("LISTEN_FDNAMES")], std::process::id());
        let mut names = Vec::new();
        let count = || {
            names = of();
            names.len()
        };
        let descriptors = sys::inherited(count, &["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]);
        names.into_iter().zip(descriptors).filter_map(|(name, descriptor)| Some((name, descriptor?))).collect()
    });
}

/// The names of what was handed over to this process, from the first descriptor on.
fn names([pid, count, names]: [Option<String>; 3], own: u32) -> Vec<String> {
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u32>().ok());
    if number(pid) != Some(own) {
        return Vec::new();
    }
    let count = number(count).map_or(0, |count| usize::try_from(count).unwrap_or(MOST)).min(MOST);
    let names = names.unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    (0..count).map(|_| names.next().unwrap_or(NAMELESS).to_owned()).collect()
}

/// Was one of this name handed over?
pub(super) fn has(name: &str) -> bool {
    HANDED.get().is_some_and(|all| all.iter().any(|(its, _)| its == name))
}

/// All sockets of this name.
///
/// # Errors
/// One sentence that says what was handed over: there is none of that name, or it is no listening stream socket.
pub(super) fn sockets(name: &str) -> io::Result<Vec<Shared>> {
    let all = HANDED.get().map_or(&[][..], Vec::as_slice);
    let said = format!("fd:{name}");
    let of_name: Vec<_> = all.iter().filter(|(its, _)| its == name).collect();
    if of_name.is_empty() {
        let text = format!("cannot listen on {said}: {}", missing(all.iter().map(|(name, _)| name.as_str()), name));
        return Err(BindError::of(text, io::ErrorKind::NotFound.into()));
    }
    of_name.iter().map(|(_, descriptor)| shared::handed(descriptor.as_fd().try_clone_to_owned()?, &said)).collect()
}

/// Says which were handed over and are asked for by none of these listeners.
pub fn tell_unused<'a>(addresses: impl Iterator<Item = &'a ListenAddress>) {
    let all = HANDED.get().map_or(&[][..], Vec::as_slice);
    let asked: Vec<&str> = addresses
        .filter_map(|address| if let ListenAddress::Handed(name) = address { Some(&**name) } else { None })
        .collect();
    let unused = list(all.iter().map(|(name, _)| name.as_str()).filter(|name| !asked.contains(name)));
    if !unused.is_empty() {
        events::sockets_unused(unused);
    }
}

/// Each name once.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::new();
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            // Writing to a string does not fail.
            let _ = write!(list, "{}fd:{}", if seen.is_empty() { "" } else { ", " }, escape(name.as_bytes()));
            seen.push(name);
        }
    }
    list
}

fn missing<'a>(all: impl Iterator<Item = &'a str>, name: &str) -> String {
    let list = list(all);
    if list.is_empty() {
        format!(
            "no socket was handed over. Start causeway by a systemd .socket unit with FileDescriptorName={name}, or write \
             an address like \":8080\""
        )
    } else {
        format!("nothing was handed over by that name, but {list}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_what_the_variables_say() {
        let of = |pid: &str, count: &str, said: Option<&str>| {
            names([Some(pid.into()), Some(count.into()), said.map(Into::into)], 7).join(" ")
        };
        assert_eq!(of("7", "2", Some("http:https")), "http https");
        assert_eq!(of("7", "2", Some("http")), "http unknown");
        assert_eq!(of("7", "2", None), "unknown unknown");
        assert_eq!(of("7", "1", Some("http:https")), "http");
        assert_eq!(of("8", "2", Some("http:https")), "", "another process's");
        for (pid, count) in [("7", "x"), ("7", "-1"), ("", "1"), ("7", "0")] {
            assert_eq!(of(pid, count, None), "");
        }
        assert_eq!(names([None, Some("1".into()), None], 7).len(), 0);
    }

    #[test]
    fn what_is_missing_lists_what_is_there() {
        assert_eq!(missing(["a", "b", "a"].into_iter(), "c"), "nothing was handed over by that name, but fd:a, fd:b");
        assert!(missing([].into_iter(), "c").contains("FileDescriptorName=c"));
    }
}
