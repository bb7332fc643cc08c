//! TODO proxy
pub mod respond;
