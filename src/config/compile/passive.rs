//! `[pool.NAME.passive]` and `[pool.NAME.limits]`: what traffic says of health, and what is too much.

use std::num::NonZeroU32;

use super::super::model::{Limits, Passive};
use super::super::read::Section;
use super::super::units::duration_text;
use super::pool::count;

/// `[pool.NAME.passive]`.
pub(super) fn passive(section: &Section<'_>) -> Passive {
    let default = Passive::default();
    let failures =
        |key, default| section.number_or(key, 1..=1000, &[("off", None)], NonZeroU32::new).unwrap_or(default);
    let passive = Passive {
        connect_failures: failures("connect_failures", default.connect_failures),
        gateway_failures: failures("gateway_failures", default.gateway_failures),
        evict: section.time("evict", default.evict),
        evict_max: section.time("evict_max", default.evict_max),
        max_evicted: section
            .percent("max_evicted", 100)
            .and_then(|percent| u8::try_from(percent).ok())
            .unwrap_or(default.max_evicted),
    };
    if passive.evict > passive.evict_max {
        let place = section.value_place("evict").or(section.value_place("evict_max")).unwrap_or(&section.place);
        let (first, most) = (duration_text(passive.evict), duration_text(passive.evict_max));
        let message = format!("the first eviction (evict, {first}) is longer than the longest (evict_max, {most})");
        section.cx.error(place, message, "raise evict_max, or lower evict");
    }
    passive
}

/// `[pool.NAME.limits]`.
pub(super) fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        in_flight: section.number_or("in_flight", 1..=1_000_000, &[("off", None)], count).flatten(),
        queue: section.number_or("queue", 0..=100_000, &[("off", 0)], |n| n as usize).unwrap_or(default.queue),
        queue_timeout: section.time("queue_timeout", default.queue_timeout),
    }
}
