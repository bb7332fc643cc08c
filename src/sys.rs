//! The only unsafe code: the allocator with its reserve, and socket options that no crate offers safely; each with its
//! SAFETY line.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

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

/// The size of a page of memory, in bytes. (rustix looks for it where nothing is under valgrind, and crashes.)
#[must_use]
pub fn page_size() -> u64 {
    asked(libc::_SC_PAGESIZE).unwrap_or(4096)
}

/// In how many parts of a second the kernel tells times of the CPU.
#[must_use]
pub fn clock_ticks_per_second() -> u64 {
    asked(libc::_SC_CLK_TCK).unwrap_or(100)
}

fn asked(name: libc::c_int) -> Option<u64> {
    // SAFETY: it only asks; a name that is not known is an error.
    u64::try_from(unsafe { libc::sysconf(name) }).ok()
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

/// Where only so much may be mapped (RLIMIT_AS), no allocator may reserve any of it ahead (mimalloc 1 GiB, libc 64 MiB
/// for each thread): what lies there unused could be had by nobody else, nor be seen to be free. So this runs before
/// anything is allocated.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTHING_AHEAD: extern "C" fn() = nothing_ahead;

/// `mi_option_arena_reserve` of mimalloc 3, which its crate does not name.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;

extern "C" fn nothing_ahead() {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: it writes one `rlimit`. Options of the allocators may be set at any time, also before their first block.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY {
            libmimalloc_sys::mi_option_set(ARENA_RESERVE, 0);
            #[cfg(target_env = "gnu")]
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// The least that is kept for the moment when there is no memory left.
pub const RESERVE: usize = 16 << 20;

/// Where the reserve is; null: it is let go, or was never taken. It begins with its own size.
static KEPT: AtomicPtr<usize> = AtomicPtr::new(ptr::null_mut());
/// The size that was taken last.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static SHORT: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Is memory short? True from the moment on that the system gives none, or that somebody said so.
#[must_use]
pub fn memory_is_short() -> bool {
    SHORT.load(Ordering::Relaxed)
}

/// Has the reserve been let go, or was there none?
#[must_use]
pub fn reserve_is_out() -> bool {
    KEPT.load(Ordering::Relaxed).is_null()
}

/// Says that memory is short, or that it is not any more.
pub fn set_memory_short(short: bool) {
    SHORT.store(short, Ordering::Relaxed);
}

/// How often the system gave no memory for a block that the reserve can serve, since the start.
#[must_use]
pub fn failed_allocations() -> u64 {
    FAILED.load(Ordering::Relaxed)
}

/// Takes a reserve of `most` bytes, or the half of it and so on, unless as much is held already. But for its first
/// page, nothing is ever written to it: it takes room in what the process may map, and no memory. One thread at a time.
/// False: the system does not give [`RESERVE`].
#[must_use]
pub fn take_reserve(most: usize) -> bool {
    let held = if KEPT.load(Ordering::Relaxed).is_null() { 0 } else { TAKEN.load(Ordering::Relaxed) };
    let sizes = std::iter::successors(Some(most.max(RESERVE)), |size| Some(size / 2));
    for size in sizes.take_while(|size| *size >= RESERVE && *size > held) {
        if let Some(reserve) = map(size) {
            // SAFETY: it was mapped just now, for reading and writing, and is aligned to a page.
            unsafe { reserve.write(size) };
            TAKEN.store(size, Ordering::Relaxed);
            give_up(KEPT.swap(reserve, Ordering::AcqRel));
            return true;
        }
    }
    held > 0
}

/// `None`: the system does not give so much.
fn map(size: usize) -> Option<*mut usize> {
    let (may, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of no file, at a place that the kernel chooses.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), size, may, how, -1, 0) };
    (mapped != libc::MAP_FAILED).then_some(mapped.cast())
}

/// Of what `KEPT` held: whoever took it from there has it alone.
fn give_up(reserve: *mut usize) {
    if !reserve.is_null() {
        // SAFETY: it is what `map` gave, whole, with its size at its beginning; the swap that took it from `KEPT` gave
        // it to this thread alone.
        unsafe { libc::munmap(reserve.cast(), reserve.read()) };
    }
}

#[inline]
fn or_once_more(size: usize, ask: impl Fn() -> *mut u8) -> *mut u8 {
    let block = ask();
    if block.is_null() { once_more(size, ask) } else { block }
}

/// How often it is tried again when everything is used up, and how long apart: others may free some.
const LAST_TRIES: usize = 10;
static BETWEEN_TRIES: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// The system gave no memory for a block: lets the reserve go, then tries again. What the reserve cannot serve fails,
/// as it would without one. It must not allocate or panic, nor hold a lock.
#[cold]
#[inline(never)]
fn once_more(size: usize, ask: impl Fn() -> *mut u8) -> *mut u8 {
    if size > RESERVE / 2 {
        return ptr::null_mut();
    }
    FAILED.fetch_add(1, Ordering::Relaxed);
    SHORT.store(true, Ordering::Relaxed);
    give_up(KEPT.swap(ptr::null_mut(), Ordering::AcqRel));
    for tried in 0..=LAST_TRIES {
        let block = ask();
        if !block.is_null() {
            return block;
        }
        give_back_memory();
        if tried > 0 {
            // SAFETY: it reads one `timespec`, and waits; being woken early does no harm.
            unsafe { libc::nanosleep(&raw const BETWEEN_TRIES, ptr::null_mut()) };
        }
    }
    ptr::null_mut()
}

/// mimalloc. Its crate asks for every block with an alignment, and half of these requests then take mimalloc's slow
/// way; but every block of mimalloc's has the alignment that nearly all need.
#[derive(Debug)]
pub struct Allocator;

/// What `mi_malloc` gives is aligned to this, for any size.
const ALIGNED: usize = 8;

// SAFETY: every block comes from mimalloc and goes back to it; `mi_malloc` aligns to `ALIGNED` at least, and what needs
// more is asked for with its alignment. Null means that there is no memory, as the trait says. mimalloc does not
// unwind; nor does `once_more`, which asks it again for the same.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: both take any size; an alignment is a power of two by the layout.
        let ask = || unsafe {
            if align <= ALIGNED {
                libmimalloc_sys::mi_malloc(size).cast()
            } else {
                libmimalloc_sys::mi_malloc_aligned(size, align).cast()
            }
        };
        or_once_more(size, ask)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        let ask = || unsafe {
            if align <= ALIGNED {
                libmimalloc_sys::mi_zalloc(size).cast()
            } else {
                libmimalloc_sys::mi_zalloc_aligned(size, align).cast()
            }
        };
        or_once_more(size, ask)
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got it from this allocator and uses it no more.
        unsafe { libmimalloc_sys::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc` and `dealloc`. A block that cannot become larger stays as it was, so it may be asked
        // again.
        let ask = || unsafe {
            if layout.align() <= ALIGNED {
                libmimalloc_sys::mi_realloc(block.cast(), size).cast()
            } else {
                libmimalloc_sys::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        };
        or_once_more(size, ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A newer mimalloc may number its options anew.
    #[test]
    fn the_option_that_is_set_is_the_one_that_is_meant() {
        // SAFETY: it only reads.
        let kibibytes = unsafe { libmimalloc_sys::mi_option_get(ARENA_RESERVE) };
        assert!([0, 1 << 20].contains(&kibibytes), "{kibibytes}");
    }
}
