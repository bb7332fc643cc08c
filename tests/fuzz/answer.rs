//! Any bytes as an upstream's answer: the codec never panics, is never looser than hyper's client, and sees the same
//! however they are split. The comparison is that of tests/codec.

#![no_main]

#[path = "../codec/compare/mod.rs"]
#[allow(dead_code)] // shared with tests that need more of it
mod compare;
mod cuts;
mod input;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: Runtime = compare::timeless();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((case, cuts)) = input::read(bytes) else { return };
    let case = compare::Case { cuts: &cuts, ..case };
    if let Err(words) = RUNTIME.with(|runtime| runtime.block_on(compare::check(&case))) {
        panic!("{words}");
    }
});
