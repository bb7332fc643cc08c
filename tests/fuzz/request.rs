//! Any bytes from a client: the server's codec never panics, is never looser than hyper's server, answers each request
//! once and in order, and sees the same however they are split. The comparison is that of tests/codec/server.
//!
//! The first byte says how the client and the handler behave, the second where the rest is cut.

#![no_main]

#[path = "../codec/server/compare/mod.rs"]
#[allow(dead_code)] // shared with tests that need more of it
mod compare;
mod cuts;

use compare::subject::Subject;
use compare::{Case, Reads};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

thread_local! {
    static SERVER: (Runtime, Subject) = {
        let runtime = compare::one_thread();
        let subject = runtime.block_on(async { Subject::start() });
        (runtime, subject)
    };
}

fuzz_target!(|bytes: &[u8]| {
    let [manner, seed, stream @ ..] = bytes else { return };
    let reads = if manner & 2 == 0 { Reads::Whole } else { Reads::Nothing };
    // What nobody reads depends on what is there already.
    let cuts = if reads == Reads::Whole { cuts::cuts(*seed, stream.len()) } else { vec![] };
    let case = Case { stream, cuts: &cuts, reads, hurries: manner & 1 != 0 };
    if let Err(words) = SERVER.with(|(runtime, subject)| runtime.block_on(compare::check(&case, subject))) {
        panic!("{words}");
    }
});
