//! TODO app
