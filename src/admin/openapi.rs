//! `GET /openapi.json`: what is answered here, for machines. It is `config/openapi.json`, with the version put in; a
//! test walks it path by path.

const DOCUMENT: &str = include_str!("../../config/openapi.json");

/// The document.
pub(super) fn document() -> String {
    DOCUMENT.replacen("\"0.0.0\"", &format!("\"{}\"", env!("CARGO_PKG_VERSION")), 1)
}
