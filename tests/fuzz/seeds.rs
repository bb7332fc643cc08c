//! Writes the table's answers into a corpus folder, for the fuzz target to start from.

#[path = "../codec/compare/mod.rs"]
#[allow(dead_code)]
mod compare;
#[allow(dead_code)] // it only writes
mod input;
#[path = "../codec/table/mod.rs"]
#[allow(dead_code)]
mod table;

use std::path::PathBuf;

/// Longer answers only slow it down.
const LONGEST: usize = 2 << 10;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("corpus/answer"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let mut count = 0;
    for row in table::rows().into_iter().filter(|row| row.answer.len() <= LONGEST) {
        for bytes in input::write(&row.answer, row.early) {
            std::fs::write(folder.join(format!("row-{count:04}")), bytes)?;
            count += 1;
        }
    }
    println!("{count} answers in {}", folder.display());
    Ok(())
}
