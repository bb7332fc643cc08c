//! What a generator does to bytes that were well-formed: a few changes, anywhere.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One of them.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Swap(Index, Index),
    /// A line, once more.
    Repeat(Index, Index),
    Truncate(Index),
}

pub fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let byte = || prop_oneof![select(b"\r\n\t ,;:0159afAF\0\x7f\xff".as_slice()), any::<u8>()];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (at(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        at().prop_map(Change::Delete),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
        at().prop_map(Change::Truncate),
    ]
}

pub fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Put(at, byte) => bytes[at.index(length)] = *byte,
            Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Change::Delete(at) => drop(bytes.remove(at.index(length))),
            Change::Swap(a, b) => bytes.swap(a.index(length), b.index(length)),
            Change::Repeat(from, to) => {
                let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let mut more = lines.clone();
                more.insert(to.index(lines.len()), lines[from.index(lines.len())].clone());
                bytes = more.concat();
            }
            Change::Truncate(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}
