//! TODO proxy
