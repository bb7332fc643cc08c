//! `causeway check`: every problem of a configuration, and where a request would go.
//!
//! Reads and compiles exactly as `run` does; sends nothing.

mod journey;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::{Method, Uri};

use crate::config::problem::{ascii, count, render};
use crate::config::{Flags, Host, Loaded};

use journey::journey;

/// The words of `causeway check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The file; else CAUSEWAY_CONFIG, ./causeway.toml, /etc/causeway/causeway.toml
    file: Option<PathBuf>,
    /// Tell the route, the pool and what the upstream sees, for http://host/path?query or /path;
    /// exit code 1 where the answer would be 400, 404 or 405
    #[arg(long, value_name = "URL", value_parser = http_url)]
    url: Option<Uri>,
    /// The method for --url
    #[arg(long, value_name = "METHOD", default_value = "GET", requires = "url")]
    method: Method,
}

/// Checks and prints. 0 when it would run, 78 when not.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let flags = Flags { config: args.file.clone(), ..Flags::default() };
    let (text, code) = match super::configuration(&flags) {
        Ok(loaded) => {
            let mut text = render(&loaded.warnings);
            let (said, code) = match &args.url {
                Some(url) => match journey(&loaded.config, &args.method, url) {
                    Ok(said) => (said, ExitCode::SUCCESS),
                    Err(said) => (said, ExitCode::FAILURE),
                },
                None => (summary(&loaded), ExitCode::SUCCESS),
            };
            let _ = writeln!(text, "{said}");
            (text, code)
        }
        Err((text, code)) => (text, ExitCode::from(code)),
    };
    // A closed standard output is no reason to panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

/// One line: it is fine, and what it has.
fn summary(Loaded { config, warnings }: &Loaded) -> String {
    let name = config.file.as_ref().map_or_else(|| "the configuration".into(), |file| file.display().to_string());
    let entries = || config.pools.iter().flat_map(|pool| &pool.upstreams);
    let backups = entries().filter(|entry| entry.backup).count();
    let verdict = match warnings.len() {
        0 => "is fine".into(),
        n => format!("would run, with {}", count(n, "warning")),
    };
    let has = [
        count(config.listeners.len(), "listener"),
        count(config.routes.len(), "route"),
        count(config.pools.len(), "pool"),
        count(entries().filter(|entry| !matches!(entry.address.host, Host::Listed(_))).count(), "upstream"),
    ];
    let lists = config.pools.iter().filter(|pool| pool.upstreams_file().is_some()).count();
    let spare = if backups > 0 { format!(" ({backups} of them for backup)") } else { String::new() };
    let lists = if lists > 0 { format!(", {}", count(lists, "list")) } else { String::new() };
    format!("{} {verdict}: {}{spare}{lists}.", ascii(&name), has.join(", "))
}

/// What `--url` takes.
fn http_url(text: &str) -> Result<Uri, String> {
    let url: Uri = match text.parse() {
        Ok(url) => url,
        Err(_) if !text.contains("://") && format!("http://{text}").parse::<Uri>().is_ok() => {
            return Err(format!("write http://{text}"));
        }
        Err(error) => return Err(error.to_string()),
    };
    match url.scheme_str() {
        Some("http" | "https") => Ok(url),
        Some(_) => Err("write http://host/path or /path".to_owned()),
        None if url.path().starts_with('/') => Ok(url),
        None => Err(format!("write http://{text}")),
    }
}
