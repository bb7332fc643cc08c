//! Where bytes are cut into pieces, by one byte.

/// None; byte by byte; or up to three, anywhere.
pub fn cuts(seed: u8, length: usize) -> Vec<usize> {
    match seed {
        0 => vec![],
        1 => (1..length).collect(),
        _ => {
            let mut state = u32::from(seed);
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state as usize >> 8
            };
            let mut cuts: Vec<_> = (0..=seed % 3).map(|_| next() % (length + 1)).collect();
            cuts.sort_unstable();
            cuts
        }
    }
}
