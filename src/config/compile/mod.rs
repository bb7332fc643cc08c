//! The tree becomes a [`Config`], or all its problems at once.
//!
//! Each file here reads the tables of one noun. Reading goes on past every problem with the default in place of the
//! faulty value; at the end one error is enough to give no config at all. The only files that are opened are those that
//! `respond`, `basic_auth`, `errors.page`, `admin.token_file`, `upstreams_file` and `tls` name.

mod access;
mod balance;
mod certificates;
mod circle;
mod clocks;
mod elsewhere;
mod entries;
mod foolish;
mod health;
mod htpasswd;
mod late;
mod layers;
mod listener;
mod notify;
mod page;
mod passive;
mod pool;
mod pool_tls;
mod reach;
mod redirect;
mod route;
mod token;
mod unknown;
mod words;

pub use pool_tls::{CERT_FILE, usual as usual_tls};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address::{ADMIN, ListenAddress};
use super::context::{Context, Known};
use super::model::{AccessFormat, Config, Detail, Errors, Level, Listener, Log, LogTarget, Shutdown, Token};
use super::problem::{Origin, Place, Problem, Severity, Wrong};
use super::read::Section;
use super::source::Sources;
use super::tree::Table;

/// Compiles all that was said. `file` is where the tree came from, and relative paths in it start at its folder.
/// Warnings come beside the config.
///
/// # Errors
/// Everything that is wrong, what could not be read and warnings included, in the order of the file.
pub fn compile(sources: &Sources, file: Option<&Path>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let base = file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let cx = Context { base, cert_file: sources.cert_file.clone(), ..Context::default() };
    let config = (!sources.broken).then(|| read(&cx, &sources.root, &sources.whole));
    if !cx.unknown.borrow().is_empty() {
        unknown::report(&cx, &known(), &sources.root);
    }
    let mut problems = sources.problems.clone();
    // One word about a value is enough: what could not be expanded cannot be right either.
    let news = |problem: &Problem| sources.problems.iter().all(|said| said.place != problem.place);
    problems.extend(cx.problems.into_inner().into_iter().filter(news));
    // In the order of the file; what was said elsewhere, and what is about the whole, behind it.
    problems.sort_by_key(|problem| {
        let start = problem.place.span.as_ref().map(|span| span.start);
        (problem.place.origin.text.is_none(), start.unwrap_or(usize::MAX))
    });
    match config {
        Some(config) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok((Config { file: file.map(Path::to_owned), ..config }, problems))
        }
        _ => Err(problems),
    }
}

/// Every key there is, found by compiling nothing and noting what is asked for.
#[must_use]
pub fn known() -> Vec<Known> {
    let cx = Context { learned: Some(std::cell::RefCell::default()), ..Context::default() };
    let whole = Arc::new(Origin::new(String::new(), None, None));
    read(&cx, &Table::default(), &whole);
    let mut known: Vec<Known> = Vec::new();
    for key in cx.learned.map(std::cell::RefCell::into_inner).unwrap_or_default() {
        if !known.contains(&key) {
            known.push(key);
        }
    }
    known
}

fn read(cx: &Context, tree: &Table, whole: &Arc<Origin>) -> Config {
    let root = Section::root(cx, tree, Place::whole(whole));
    let listeners = listener::listeners(&root);
    let name = root.parse("name", "causeway", words::pseudonym).unwrap_or_else(|| "causeway".into());
    let workers = root.number_or("workers", 1..=1024, &[("auto", 0)], |n| n).unwrap_or(0);
    let (admin, admin_token) = admin(&root, &listeners);
    let trusted_proxies = access::networks(&root, "trusted_proxies");
    let public = listeners.iter().find(|(listener, _)| !listener.address.is_loopback());
    if let (Some(place), Some(_)) = (access::everybody(&root, "trusted_proxies"), public) {
        let message = "everybody is trusted: any client may say what its own address is";
        cx.warn(place, message, "name the networks of your own proxies, or write \"private\"");
    }
    let name_servers = pool::name_servers(&root);
    let pools = pool::pools(&root, &name_servers, &circle::Own { listeners: &listeners, admin: admin.as_ref() });
    let ports: Vec<u16> = listeners.iter().map(|(listener, _)| listener.address.port()).collect();
    let routes = route::routes(&root, &pools, &ports);
    let errors = errors(&root, &listeners);
    let notify = notify::notify(&root, &name_servers);
    Config {
        name,
        workers: std::num::NonZeroUsize::new(workers as usize),
        trusted_proxies,
        listeners: listeners.into_iter().map(|(listener, _)| listener).collect(),
        admin,
        admin_token,
        log: log(&root),
        shutdown: shutdown(&root),
        hand_over: root.parse("hand_over", "/run/causeway/hand-over.sock", hand_over).flatten(),
        routes,
        pools: pools.into_iter().map(|read| Arc::new(read.pool)).collect(),
        errors,
        notify,
        file: None,
    }
}

fn admin(root: &Section<'_>, listeners: &[(Listener, Place)]) -> (Option<ListenAddress>, Option<Token>) {
    let section = root.section("admin");
    (admin_address(&section, listeners), token::token(&section))
}

fn admin_address(section: &Section<'_>, listeners: &[(Listener, Place)]) -> Option<ListenAddress> {
    let said = section.text("address", "127.0.0.1:9901", "");
    let address = match said {
        None => ListenAddress::Exact(vec![ADMIN]),
        Some(("off", _)) => return None,
        Some((text, place)) => section.cx.take(place, ListenAddress::parse(text).and_then(on_tcp))?,
    };
    if let Some((listener, its_place)) = listeners.iter().find(|(l, _)| circle::collide(&l.address, &address)) {
        let Listener { name, address: its, .. } = listener;
        let (place, message, hint) = match said {
            Some((_, place)) if *its == address => {
                (place, format!("the admin address is also listener `{name}`"), "give it a port of its own, or \"off\"")
            }
            Some((_, place)) => {
                let message = format!("{address} and {its} (listener `{name}`) cannot both be listened on");
                (place, message, "give it a port of its own, or \"off\"")
            }
            None => {
                let message =
                    format!("listener `{name}` has the admin address: {address}, unless [admin] says another");
                (its_place, message, "give this listener another port, or write [admin] and address below it")
            }
        };
        section.cx.error(place, message, hint);
    }
    Some(address)
}

/// The commands that ask the admin speak TCP.
fn on_tcp(address: ListenAddress) -> Result<ListenAddress, Wrong> {
    match address {
        ListenAddress::Unix(_) | ListenAddress::Handed(_) => {
            let hint = "write it like \"127.0.0.1:9901\", or \"off\"";
            Err(Wrong::new(format!("\"{address}\": the admin listens on TCP addresses only"), hint))
        }
        ListenAddress::Any(_) | ListenAddress::Exact(_) => Ok(address),
    }
}

fn log(root: &Section<'_>) -> Log {
    let section = root.section("log");
    let levels = [
        ("info", Level::Info),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    let formats = [
        ("auto", AccessFormat::Auto),
        ("json", AccessFormat::Json),
        ("combined", AccessFormat::Combined),
        ("off", AccessFormat::Off),
    ];
    let target = |key, default| {
        let parser = |text: &str| match text {
            "stderr" => Ok(LogTarget::Stderr),
            "stdout" => Ok(LogTarget::Stdout),
            "" | "off" | "none" | "syslog" | "journal" | "journald" | "json" | "console" => {
                Err(Wrong::new(format!("\"{text}\" is no place for lines"), "write \"stderr\", \"stdout\" or a file"))
            }
            file => Ok(LogTarget::File(root.cx.base.join(PathBuf::from(file)))),
        };
        section.parse(key, "stderr", parser).unwrap_or(default)
    };
    let access = section.choice("access", &formats).unwrap_or(AccessFormat::Auto);
    if let (Some(place), AccessFormat::Off) = (section.place_of("access_to"), access) {
        section.cx.warn(place, "`access_to` does nothing: access = \"off\"", "take one of them out");
    }
    Log {
        level: section.choice("level", &levels).unwrap_or(Level::Info),
        events: target("events", LogTarget::Stderr),
        access,
        access_to: target("access_to", LogTarget::Stdout),
    }
}

fn shutdown(root: &Section<'_>) -> Shutdown {
    let section = root.section("shutdown");
    Shutdown {
        grace: section.duration("grace", Duration::ZERO),
        timeout: section.duration("timeout", Duration::from_secs(8)),
    }
}

/// The kernel's room for a path, less the zero byte behind it (unix(7)).
const SOCKET_PATH: usize = 107;

/// An absolute path: two processes, started in two folders, must mean the same one.
fn hand_over(text: &str) -> Result<Option<PathBuf>, Wrong> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if matches!(path, "" | "off") {
        return Ok(None);
    }
    let hint = "write it like \"/run/causeway/hand-over.sock\"";
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Wrong::new(format!("\"{text}\" is no absolute path of a socket"), hint));
    }
    if path.len() > SOCKET_PATH {
        let message = format!("this path has {} bytes, and the kernel takes {SOCKET_PATH} for a socket", path.len());
        return Err(Wrong::new(message, hint));
    }
    Ok(Some(path.into()))
}

fn errors(root: &Section<'_>, listeners: &[(Listener, Place)]) -> Errors {
    let section = root.section("errors");
    let details = [("auto", Detail::Auto), ("full", Detail::Full), ("public", Detail::Public)];
    let detail = section.choice("detail", &details).unwrap_or(Detail::Auto);
    let open = listeners.iter().find(|(listener, _)| !listener.address.is_loopback());
    if let (Detail::Full, Some(place), Some((listener, _))) = (detail, section.value_place("detail"), open) {
        let message = format!("everybody who reaches {} learns upstream addresses from errors", listener.address);
        section.cx.warn(place, message, "write \"auto\", or name clients in full_for");
    }
    if let (Some(place), Some((listener, _))) = (access::everybody(&section, "full_for"), open) {
        let message = format!("everybody who reaches {} learns upstream addresses from errors", listener.address);
        section.cx.warn(place, message, "name your own networks, or write \"private\"");
    }
    Errors {
        detail,
        full_for: access::networks(&section, "full_for"),
        proxy_status_on_all: section.choice("proxy_status", &[("errors", false), ("all", true)]).unwrap_or(false),
        diagnosis: section.flag("diagnosis", true),
        page: page::page(&section),
    }
}
