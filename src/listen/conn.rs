//! TODO conn
