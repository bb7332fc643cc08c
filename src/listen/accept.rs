//! TODO accept
