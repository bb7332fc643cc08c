//! The place of a request in its trace: from the `traceparent` that came, or made here (W3C Trace Context). Pure but
//! for its random numbers, which are ids and no secrets.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::settings::Sampler;

/// A tracestate beyond this many bytes may be cut by anybody (W3C Trace Context §3.3.1.5); here it stays out of the
/// span.
const STATE_MOST: usize = 512;

const SAMPLED: u8 = 1;
/// The trace id is random (Level 2): passed on as it came.
const RANDOM: u8 = 2;

/// See the module.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) trace: u128,
    /// The caller's span.
    pub(super) parent: Option<u64>,
    /// The request's own span.
    pub(super) span: u64,
    pub(super) flags: u8,
    pub(super) state: String,
    /// When each attempt began, in order.
    pub(super) began: Vec<Instant>,
}

/// What an attempt says of itself to its upstream.
#[derive(Clone, Debug)]
pub struct Parent {
    traceparent: HeaderValue,
    fresh: bool,
}

impl Parent {
    /// The field's value.
    #[must_use]
    pub const fn traceparent(&self) -> &HeaderValue {
        &self.traceparent
    }

    /// The trace begins here: a `tracestate` that came belongs to none and goes no further.
    #[must_use]
    pub const fn fresh(&self) -> bool {
        self.fresh
    }
}

impl Context {
    /// Of a request with these fields. `None`: it brought a trace that is not sampled here, and passes as it came.
    pub(super) fn of(fields: &HeaderMap, sampler: Sampler) -> Option<Self> {
        let mut lines = fields.get_all("traceparent").iter();
        let came = lines.next().filter(|_| lines.next().is_none()).and_then(|line| parse(line.as_bytes()));
        let span = fastrand::u64(1..);
        match came {
            Some((trace, parent, flags)) => {
                let sampled = sampler.samples(trace, Some(flags & SAMPLED != 0));
                sampled.then(|| Self {
                    trace,
                    parent: Some(parent),
                    span,
                    flags: flags & RANDOM | SAMPLED,
                    state: state(fields),
                    began: Vec::new(),
                })
            }
            None => {
                let trace = fastrand::u128(1..);
                let flags = if sampler.samples(trace, None) { SAMPLED } else { 0 };
                Some(Self { trace, parent: None, span, flags, state: String::new(), began: Vec::new() })
            }
        }
    }

    /// Are there to be spans of it?
    pub(super) const fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The id of an attempt's span, from 0.
    pub(super) fn attempt_id(&self, index: usize) -> u64 {
        self.span.wrapping_add(index as u64 + 1).max(1)
    }

    /// An attempt begins: what its upstream gets.
    pub fn attempt(&mut self, now: Instant) -> Parent {
        let id = self.attempt_id(self.began.len());
        self.began.push(now);
        let text = format!("00-{:032x}-{id:016x}-{:02x}", self.trace, self.flags);
        let traceparent =
            HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""));
        Parent { traceparent, fresh: self.parent.is_none() }
    }
}

/// `00-TRACE-PARENT-FLAGS` (W3C Trace Context §3.2): trace id, parent id, flags. A later version may say more behind
/// it.
fn parse(line: &[u8]) -> Option<(u128, u64, u8)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut parts = line.split('-');
    let (version, trace) = (number(parts.next()?, 2)?, number(parts.next()?, 32)?);
    let (parent, flags) = (number(parts.next()?, 16)?, number(parts.next()?, 2)?);
    let ends = parts.next().is_none() || version > 0;
    let valid = version != 0xff && trace != 0 && parent != 0 && ends;
    valid.then_some((trace, parent as u64, flags as u8))
}

/// So many lower-case hex digits.
fn number(text: &str, digits: usize) -> Option<u128> {
    let fine = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fine { u128::from_str_radix(text, 16).ok() } else { None }
}

fn state(fields: &HeaderMap) -> String {
    let lines: Vec<&str> = fields.get_all("tracestate").iter().filter_map(|line| line.to_str().ok()).collect();
    Some(lines.join(",")).filter(|state| state.len() <= STATE_MOST).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append("traceparent", HeaderValue::from_str(line).unwrap());
        }
        fields.append("tracestate", HeaderValue::from_static("a=1"));
        fields
    }

    #[test]
    fn a_trace_that_came_goes_on_under_a_parent_of_ours() {
        let mut context = Context::of(&fields(&[CAME]), Sampler::Parent(1.0)).unwrap();
        assert_eq!((context.parent, &*context.state), (Some(0xb7ad_6b71_6920_3331), "a=1"));
        let (first, second) = (context.attempt(Instant::now()), context.attempt(Instant::now()));
        let first = first.traceparent().to_str().unwrap();
        assert!(first.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && first.ends_with("-01"), "{first}");
        assert_ne!(first, second.traceparent());
        assert!(!second.fresh());
    }

    #[test]
    fn one_that_is_not_sampled_passes_as_it_came() {
        let unsampled = CAME.replace("-01", "-00");
        assert!(Context::of(&fields(&[&unsampled]), Sampler::Parent(1.0)).is_none());
        assert!(Context::of(&fields(&[CAME]), Sampler::Ratio(0.0)).is_none());
        assert!(Context::of(&fields(&[&unsampled]), Sampler::Ratio(1.0)).is_some());
    }

    #[test]
    fn what_cannot_be_read_makes_a_new_trace() {
        for lines in [
            &[][..],
            &[CAME, CAME],
            &["00-1-2-3"],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
        ] {
            let mut context = Context::of(&fields(lines), Sampler::Parent(1.0)).unwrap();
            assert_eq!((context.parent, context.sampled()), (None, true), "{lines:?}");
            assert!(context.attempt(Instant::now()).fresh(), "{lines:?}");
        }
        let later = format!("01{}-more", &CAME[2..]);
        assert!(Context::of(&fields(&[&later]), Sampler::Parent(1.0)).unwrap().parent.is_some());
        let none = Context::of(&fields(&[]), Sampler::Parent(0.0)).unwrap();
        assert!(!none.sampled());
    }

    proptest! {
        #[test]
        fn nothing_that_comes_can_break_it(line: Vec<u8>) {
            parse(&line);
        }

        #[test]
        fn what_is_made_can_be_read(trace in 1u128.., span in 1u64.., attempts in 1usize..5) {
            let mut context = Context { trace, parent: None, span, flags: 1, state: String::new(), began: Vec::new() };
            for index in 0..attempts {
                let id = context.attempt_id(index);
                let parent = context.attempt(Instant::now());
                prop_assert_eq!(parse(parent.traceparent().as_bytes()), Some((trace, id, 1)));
            }
        }
    }
}
