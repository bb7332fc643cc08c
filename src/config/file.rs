//! Reading a file that somebody has named: a regular one, and no more of it than was asked for.
//!
//! A pipe that nobody writes to would be waited for, for ever, and a device has no end: neither is opened.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Its bytes: all of them, or the first `most` and one more, which says that there are more.
///
/// # Errors
/// What the system says; or that this is no regular file, and what it is.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    regular(fs::metadata(path)?.file_type())?;
    // Another may have taken its place by now: a pipe that is opened so waits for nobody, and is told from a file.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    regular(file.metadata()?.file_type())?;
    first(file, most)
}

fn regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let what = format!("it is {}, and not a regular file", named(kind));
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// The same; and a pipe that was handed to this process, which ends with whoever writes it: `/dev/stdin`, and what a
/// shell puts in the place of `<(command)`.
///
/// # Errors
/// As of [`read`].
pub fn read_or_handed(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let handed = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    if handed && !path.is_dir() { first(File::open(path)?, most) } else { read(path, most) }
}

fn first(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn named(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_no_more_than_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 3).unwrap(), b"1234");
        assert_eq!(read(folder.path(), 5).unwrap_err().to_string(), "it is a folder, and not a regular file");
        assert_eq!(read(Path::new("/dev/zero"), 5).unwrap_err().to_string(), "it is a device, and not a regular file");
        assert_eq!(read(&folder.path().join("b"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
