//! Any bytes as a PROXY header: the reader never panics, never takes more than it may, and says the same however they
//! come.

#![no_main]

use causeway::listen::proxy_protocol::{LONGEST, Progress, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let all = read(bytes);
    if let Ok(Progress::Whole { length, .. }) = all {
        assert!(length <= bytes.len().min(LONGEST));
    }
    if all == Ok(Progress::More) {
        assert!(bytes.len() < LONGEST);
    }
    // What was decided by fewer bytes stays so.
    for short in 0..bytes.len().min(LONGEST) {
        match read(&bytes[..short]) {
            Ok(Progress::More) => {}
            decided => assert_eq!(decided, all),
        }
    }
});
