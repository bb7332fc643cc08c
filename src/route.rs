//! TODO route
