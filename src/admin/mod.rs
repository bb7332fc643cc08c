//! TODO admin
