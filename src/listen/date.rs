//! The time, as fields have it (RFC 9110 §5.6.7): for answers that come without one.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Now; written once a second.
pub(super) fn now() -> HeaderValue {
    thread_local!(static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) });
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(written, value)| {
        if *written != second
            && let Ok(fresh) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
        {
            (*written, *value) = (second, fresh);
        }
        value.clone()
    })
}
