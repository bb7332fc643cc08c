//! causeway: a reverse proxy that tries every upstream it safely can before it gives up, and when it gives up, tells
//! you what went wrong at each one and what to do next.
//!
//! # The house
//!
//! A module imports only from floors below its own (`tests/floors.rs` checks every `use`); on its own floor, `·` lets
//! a room look left and `|` is a wall.
//!
//! ```text
//!  5  app · cli · main               assemble, drain · words · exit code
//!  4  admin                          look inside
//!  3  probe | proxy                  the only two that speak to an upstream: checks, traffic
//!  2  pool | client | listen         shared state | outbound I/O | inbound I/O
//!  1  health · memory · observe | route   rules · is there enough · facts to log | matching
//!  0  cause · config | sys | tunnel | message   the words | the only unsafe lines | ends of a tunnel | HTTP/1's bytes
//! ```
//!
//! # One request, top to bottom
//!
//! ```text
//!  accept   listen::accept     permit (TCP_NODELAY comes with the listening socket)
//!  secure   listen::tls        the handshake, and what was agreed in it; plain HTTP skips it
//!  sniff    listen::sniff      by ALPN, else by the first bytes: HTTP/1.1 or HTTP/2
//!  parse    listen::h1, h2     head clock and size limits; what cannot be read is refused with a full answer
//!  guard    proxy::guard       loop, Host, framing, Max-Forwards, size bounds     refusal: respond
//!  route    route              host, path, method                                 none: respond (404)
//!  layers   proxy::layers      addresses, rate, password, fields, compression: what the route asks for; mostly nothing
//!  forward  proxy::forward     pick, attempt, report, judge: one screen
//!    pick     pool::pick       on probation, ready, backup, unknown, then evicted as a last resort; each once
//!    attempt  proxy::attempt   client.send under its clocks: an answer or a Failure
//!    judge    proxy::retry     pure: Next or Stop(why)
//!  respond  proxy::respond     the answer, or the annotated error from the record
//!    tunnel   tunnel           after a 101, or a CONNECT of HTTP/2: bytes both ways until an end closes
//!  finish   proxy::body        at the body's end, the record reaches observe, exactly once
//! ```
//!
//! # Where state lives
//!
//! Health lives in [`pool::Upstream`], in three lanes with one writer each: `probe` writes the verdict of checks, a
//! [`pool::pick::Pick`] what traffic shows (and it counts what is in flight), [`pool::Pool::switch`] the operator's
//! word. The health machine is pure: events and `now` in, a transition out. Readers load one atomic word. Every worker
//! thread has its own listening socket, its own kept upstream connections ([`client::Client`]); what workers share is
//! read through atomics.

pub mod admin;
pub mod app;
pub mod cause;
pub mod cli;
pub mod client;
pub mod config;
pub mod health;
pub mod listen;
pub mod memory;
mod message;
pub mod observe;
pub mod pool;
pub mod probe;
pub mod proxy;
pub mod route;
pub mod sys;
pub mod tunnel;
