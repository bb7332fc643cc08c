//! Which of several upstreams: power of two choices, least in flight. Pure.
