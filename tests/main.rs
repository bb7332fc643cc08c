//! All integration tests, one binary: one link, one run. A file for each promise.

#![allow(unreachable_pub)] // `pub` between test modules
#![allow(clippy::unwrap_used)] // clippy's own exemption leaves out the helpers

mod admin;
mod balance;
mod causes;
mod cli;
mod client;
mod codec;
mod config;
mod dashboard;
mod deploy;
mod diagnose;
mod docker;
mod events;
mod eviction;
mod explain;
mod failover;
mod floors;
mod forwarding;
mod goodput;
mod grpc;
mod h2_in;
mod handed;
mod handover;
mod hostile;
mod house;
mod kubernetes;
mod layers;
mod life;
mod listen;
mod metrics;
mod names;
mod observe;
mod overload;
mod pairings;
mod pools;
mod probe;
mod readme;
mod real_apps;
mod reload;
mod reload_admin;
mod resources;
mod respond;
mod rolling;
mod simulation;
mod soak;
mod stories;
mod streams;
mod support;
mod systemd;
mod tls_in;
#[cfg(feature = "otlp")]
mod traces;
mod websocket;
