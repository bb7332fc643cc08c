//! The only unsafe code: socket options that no crate offers safely, each a safe function with its SAFETY line.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Lets the kernel keep a connection of this listening TCP socket to itself until its first bytes have come, or for about
/// so many seconds; 0 hands over at once, also those that it keeps already (when its next timer or their bytes come).
///
/// # Errors
/// When it is not a TCP socket.
pub fn defer_accept(socket: &impl AsFd, seconds: u8) -> io::Result<()> {
    let value = libc::c_int::from(seconds);
    // SAFETY: the descriptor is borrowed, so it is open; the kernel reads `value`, which has the size that is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
