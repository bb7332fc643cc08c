//! TODO io
