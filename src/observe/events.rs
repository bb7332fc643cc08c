//! stub
#![allow(missing_docs)]
use super::Exchange;
use std::net::{IpAddr, SocketAddr};
pub fn started(_: Option<&std::path::Path>, _: usize) {}
pub fn listening(n: &str, a: &[SocketAddr]) { eprintln!("listening on http://{} {n}", a[0]); }
pub fn admin(a: SocketAddr) { eprintln!("admin http://{a}"); }
pub fn flush() {}
pub fn checks_of(_: &crate::config::model::Pool) -> String { String::new() }
pub fn serving(_: &str, _: usize, _: &str) {}
pub fn no_reload() {}
pub fn thread_ended(t: &str, p: Option<&str>) { eprintln!("{t} {p:?}"); }
pub fn drained(_: usize) {}
pub fn stopped() {}
pub fn fatal(s: &str) { eprintln!("{s}"); }
pub fn grace(_: std::time::Duration) {}
pub fn draining(_: usize, _: std::time::Duration) {}
pub fn panicked(s: &str) { eprintln!("panic {s}"); }
pub fn request_failed(_: &Exchange) {}
pub fn untrusted_forwarded(_: IpAddr) {}
