//! What this process uses, as the standard `process_*` metrics have it. Read from /proc when asked; what cannot be read
//! is left out.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use crate::sys::{clock_ticks_per_second, page_size};

use super::text::{Kind, Page};

/// Writes the families.
pub fn write(page: &mut Page) {
    let stat = Stat::read();
    if let Some(stat) = &stat {
        page.family("process_cpu_seconds_total", Kind::Counter, "CPU time, user and system, in seconds.");
        page.sample(&[], stat.cpu);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        page.family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        // The one that lists them is one of them.
        page.sample(&[], descriptors.count().saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.family("process_max_fds", Kind::Gauge, "The most file descriptors that may be open.");
        page.sample(&[], most);
    }
    if let Some(stat) = stat {
        page.family("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory, in bytes.");
        page.sample(&[], stat.virtual_bytes);
        page.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory, in bytes.");
        page.sample(&[], stat.resident_bytes);
        page.family("process_start_time_seconds", Kind::Gauge, "When the process started, in seconds since 1970.");
        page.sample(&[], stat.started);
    }
}

/// From `/proc/self/stat` (proc(5)).
struct Stat {
    cpu: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    started: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        Self::parse(&stat, now - uptime.split(' ').next()?.parse::<f64>().ok()?)
    }

    /// `boot`: in seconds since 1970.
    fn parse(stat: &str, boot: f64) -> Option<Self> {
        // The name, in parentheses, may hold anything. Behind it the third field begins.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.trim().parse::<u64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu: (number(14)? + number(15)?) as f64 / ticks,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * page_size(),
            started: boot + number(22)? as f64 / ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_fields_changes_nothing() {
        let rest = "S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1000 123456789 10";
        let stat = Stat::parse(&format!("7 (a) R 1 2) {rest}"), 1_000.0).unwrap();
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!((stat.cpu, stat.virtual_bytes), (300.0 / ticks, 123_456_789));
        assert_eq!((stat.resident_bytes, stat.started), (10 * page_size(), 1_000.0 + 1000.0 / ticks));
        assert!(Stat::parse("7 (a) S 1", 0.0).is_none());
    }

    #[test]
    fn this_process_is_told() {
        let mut page = Page::new(false);
        write(&mut page);
        let page = page.finish();
        for name in ["cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds"] {
            assert!(page.contains(&format!("\nprocess_{name} ")), "{page}");
        }
    }
}
