//! TODO reuse
