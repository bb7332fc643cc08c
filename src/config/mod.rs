//! From TOML, flags and environment to values that cannot be wrong.
//!
//! `source` gathers text (file, flags, environment) into one tree in which every value knows where it came from;
//! `compile` turns the tree into the [`model`], or into **all** its [`problem`]s at once. Nothing here opens a socket,
//! and nothing is accepted and ignored: a key that no line of `compile` reads is an error.

pub mod address;
pub mod model;

pub use address::{Address, Endpoint, Host, ListenAddress};
pub use model::Config;

/// Stand-in.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Flags {
    pub config: Option<std::path::PathBuf>,
    pub listen: Option<String>,
    pub upstreams: Vec<String>,
    pub health_path: Option<String>,
    pub admin: Option<String>,
    pub set: Vec<String>,
}
/// Stand-in.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<String>,
}
/// Stand-in.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum LoadError {
    Usage(String),
    NothingConfigured,
}
impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stand-in")
    }
}
/// Stand-in.
///
/// # Errors
/// Always.
pub fn load(_: &Flags, _: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    Err(LoadError::NothingConfigured)
}
