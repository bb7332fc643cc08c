//! TODO connect
