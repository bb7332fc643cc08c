//! The only unsafe code: the allocator, and socket options that no crate offers safely; each with its SAFETY line.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Lets the kernel keep a connection of this listening TCP socket to itself until its first bytes have come, or for
/// about so many seconds; 0 hands over at once, also those that it keeps already (when its next timer or their bytes
/// come).
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

/// Bytes written to this TCP socket that the other side has not acknowledged yet.
///
/// # Errors
/// When it is not a connected TCP socket.
pub fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed, so it is open; the kernel writes one `c_int`.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(usize::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// Takes over `count` descriptors from 3 on that whoever started this program left open for it, and takes `variables`
/// out of the environment. `None` in place of one that is not open. Children do not get them. Empty at the second call,
/// and where there are other threads already: they might read the environment, and might have opened what is taken for
/// handed over.
pub fn inherited(count: impl FnOnce() -> usize, variables: &[&str]) -> Vec<Option<OwnedFd>> {
    static ONCE: AtomicBool = AtomicBool::new(false);
    if variables.iter().all(|name| std::env::var_os(name).is_none()) || ONCE.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    if !is_alone() {
        return Vec::new();
    }
    let count = count();
    for name in variables {
        // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    let descriptors = (3..).take(count);
    descriptors
        .map(|number| {
            // SAFETY: it only asks; a number that is not open is an error.
            let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
            // SAFETY: it is open, it was opened for this program before it began, and this is called once: nobody else
            // owns it.
            open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
        })
        .collect()
}

/// Takes these variables out of the environment, and says what they were. Where there are other threads already, which
/// might read the environment meanwhile, they stay in it.
pub fn taken_variables<const N: usize>(names: [&str; N]) -> [Option<OsString>; N] {
    let said = names.map(std::env::var_os);
    if said.iter().any(Option::is_some) && is_alone() {
        for name in names {
            // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
            unsafe { std::env::remove_var(name) };
        }
    }
    said
}

/// Is the thread that asks the only one?
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1
}

/// Gives the memory that this thread has freed back to the system, as far as it makes up whole pages. Takes some
/// microseconds for each megabyte; does nothing where mimalloc is not the allocator.
pub fn give_back_memory() {
    // SAFETY: it may be called at any time, from any thread, and touches only memory that nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// mimalloc. Its crate asks for every block with an alignment, and half of these requests then take mimalloc's slow
/// way; but every block of mimalloc's has the alignment that nearly all need.
#[derive(Debug)]
pub struct Allocator;

/// What `mi_malloc` gives is aligned to this, for any size.
const ALIGNED: usize = 8;

// SAFETY: every block comes from mimalloc and goes back to it; `mi_malloc` aligns to `ALIGNED` at least, and what needs
// more is asked for with its alignment. Null means that there is no memory, as the trait says. mimalloc does not
// unwind.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: both take any size; an alignment is a power of two by the layout.
        unsafe {
            if align <= ALIGNED {
                libmimalloc_sys::mi_malloc(size).cast()
            } else {
                libmimalloc_sys::mi_malloc_aligned(size, align).cast()
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        unsafe {
            if align <= ALIGNED {
                libmimalloc_sys::mi_zalloc(size).cast()
            } else {
                libmimalloc_sys::mi_zalloc_aligned(size, align).cast()
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got it from this allocator and uses it no more.
        unsafe { libmimalloc_sys::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc` and `dealloc`.
        unsafe {
            if layout.align() <= ALIGNED {
                libmimalloc_sys::mi_realloc(block.cast(), size).cast()
            } else {
                libmimalloc_sys::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}
