//! Finds the file, reads it, and compiles all that was said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::compile::compile;
use super::file;
use super::model::Config;
use super::problem::{Problem, ascii, render};
use super::source::{File, Flags, gather};

/// Where the file is looked for when nobody names one.
const PLACES: [&str; 2] = ["causeway.toml", "/etc/causeway/causeway.toml"];

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was said, complete.
    pub config: Config,
    /// Legal and foolish.
    pub warnings: Vec<Problem>,
}

/// Why there is none. [`fmt::Display`] is what a person reads: whole lines, with a newline at the end.
#[derive(Debug)]
pub enum LoadError {
    /// Words that do not go together on the command line.
    Usage(String),
    /// No file, no upstream.
    NothingConfigured,
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// Everything that is wrong, warnings included.
    Problems(Vec<Problem>),
}

impl LoadError {
    /// 2 for usage, else 78 (EX_CONFIG).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NothingConfigured | Self::Unreadable(..) | Self::Problems(_) => 78,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => writeln!(f, "{}", ascii(message)),
            Self::NothingConfigured => f.write_str(NOTHING),
            Self::Unreadable(path, error) => {
                let path = ascii(&path.display().to_string());
                writeln!(f, "Cannot read {path}: {}.\nNothing was started or changed.", ascii(&error.to_string()))
            }
            Self::Problems(problems) => f.write_str(&render(problems)),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Usage(_) | Self::NothingConfigured | Self::Problems(_) => None,
        }
    }
}

/// Bytes of a file. Nobody writes as much; what never ends is not read to its end.
const LARGEST: u64 = 4 << 20;

const NOTHING: &str = "\
Nothing is configured: no causeway.toml here or in /etc/causeway, no upstream.
Either of these lines would do, for an app on port 3000:
  causeway run --upstream 3000
  printf '[pool.app]\\nupstreams = [\"127.0.0.1:3000\"]\\n' | tee causeway.toml
";

/// Finds and compiles the configuration: `--config`, else CAUSEWAY_CONFIG, else `./causeway.toml`, else
/// `/etc/causeway/causeway.toml`, under what environment and flags say. `--upstream` means: without a file.
///
/// # Errors
/// See [`LoadError`].
pub fn load(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    load_from(&PLACES.map(PathBuf::from), flags, env)
}

/// As [`load`], looking in these places when nobody names a file.
///
/// # Errors
/// See [`LoadError`].
pub fn load_from(places: &[PathBuf], flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    let by_env = env("CAUSEWAY_CONFIG").filter(|value| !value.is_empty());
    let named = match (&flags.config, by_env) {
        (Some(path), _) => Some(("--config", path.clone())),
        (None, Some(path)) => Some(("CAUSEWAY_CONFIG", PathBuf::from(path))),
        (None, None) => None,
    };
    if let (Some((by, path)), false) = (&named, flags.upstreams.is_empty()) {
        return Err(LoadError::Usage(format!(
            "--upstream starts without a file, and {by} names {}: take one of them out.\n\
             To change the upstreams of a file: --set 'pool.app.upstreams=[\"3000\"]'",
            path.display()
        )));
    }
    let found = match named {
        Some((_, path)) => Some((read(&path).map_err(|error| LoadError::Unreadable(path.clone(), error))?, path)),
        None if !flags.upstreams.is_empty() => None,
        None => first(places)?,
    };
    let name = found.as_ref().map(|(_, path)| path.display().to_string()).unwrap_or_default();
    let file = found.as_ref().map(|(text, _)| File { name: &name, text });
    let sources = gather(file, flags, env);
    let empty = !["pool", "route"].iter().any(|key| sources.root.get(key).is_some());
    if found.is_none() && sources.problems.is_empty() && empty {
        return Err(LoadError::NothingConfigured);
    }
    let compiled = compile(&sources, found.as_ref().map(|(_, path)| path.as_path()));
    compiled.map(|(config, warnings)| Loaded { config, warnings }).map_err(LoadError::Problems)
}

/// Where the admin answers, by a file that is wrong elsewhere; `None`: it does not say so.
#[must_use]
pub fn admin_said(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let named = env("CAUSEWAY_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    let (text, path) = match named {
        Some(path) => (read(&path).ok()?, path),
        None => first(&PLACES.map(PathBuf::from)).ok().flatten()?,
    };
    let name = path.display().to_string();
    let sources = gather(Some(File { name: &name, text: &text }), &Flags::default(), env);
    sources.root.table("admin")?.get("address")?.node.text().map(str::to_owned)
}

impl Config {
    /// Compiles the text of a file called `causeway.toml` in the current folder, with no flags and no environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, Vec<Problem>> {
        let sources = gather(Some(File { name: PLACES[0], text }), &Flags::default(), &|_| None);
        compile(&sources, None).map(|(config, _)| config)
    }
}

/// The first of these files that exists.
fn first(places: &[PathBuf]) -> Result<Option<(String, PathBuf)>, LoadError> {
    for path in places {
        match read(path) {
            Ok(text) => return Ok(Some((text, path.clone()))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(LoadError::Unreadable(path.clone(), error)),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> io::Result<String> {
    let not_text = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = file::read_or_handed(path, LARGEST)?;
    if bytes.len() as u64 > LARGEST {
        return Err(not_text("it is larger than 4 MiB, which is hardly the right file".into()));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(not_text("it is UTF-16 text; save it as UTF-8".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        not_text(format!("line {line} is not UTF-8 text; save the file as UTF-8"))
    })
}
