//! A seeded simulation of a pool.
