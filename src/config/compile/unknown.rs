//! What to say about a key that nothing reads: the nearest key, or the table where it belongs.

use super::super::context::{Context, Known, Unknown, either, nearest};
use super::super::problem::Place;
use super::super::tree::Table;
use super::elsewhere;

/// Makes a problem of each unknown key. `known`: every key there is.
pub(super) fn report(cx: &Context, known: &[Known], root: &Table) {
    let only = |key: &str| match root.table(key)?.0.as_slice() {
        [one] => Some(one.key.as_str()),
        _ => None,
    };
    let names = Names { pool: only("pool"), route: only("route"), listener: only("listener") };
    let unknown = cx.unknown.take();
    for key in &unknown {
        let (message, hint) = judge(key, known, &names);
        cx.error(&key.place, message, hint);
    }
}

/// A word that could have been meant.
struct Word<'a> {
    kind: &'a str,
    key: &'a str,
    table: bool,
}

/// The names of what there is one of alone.
struct Names<'a> {
    pool: Option<&'a str>,
    route: Option<&'a str>,
    listener: Option<&'a str>,
}

fn judge(unknown: &Unknown, known: &[Known], names: &Names<'_>) -> (String, String) {
    let Unknown { kind, path, key, table, .. } = unknown;
    let home = |kind: &str| home(kind, path, names);
    let shown = if *table { format!("[{}]", join(path, key)) } else { format!("`{key}`") };
    let words: Vec<Word<'_>> = known.iter().map(|k| Word { kind: &k.kind, key: k.key, table: k.table }).collect();
    let here = || words.iter().filter(|word| word.kind == kind);
    let place = match path.strip_suffix(".upstreams") {
        _ if path.is_empty() => "at the top of the file".into(),
        Some(pool) => format!("in upstreams of [{pool}]"),
        None => format!("in [{path}]"),
    };
    let what = if *table { "table" } else { "key" };
    let message = format!("unknown {what} {shown}{}", if *table { String::new() } else { format!(" {place}") });

    // A slip of one letter here is likelier than the right word in the wrong place, and that likelier than more slips.
    let near = |most: usize| {
        let same_shape = here().filter(|word| word.table == *table).map(|word| word.key);
        let other_shape = here().filter(|word| word.table != *table).map(|word| word.key);
        let close = |found: Option<&&str>| found.is_some_and(|found| strsim::damerau_levenshtein(found, key) <= most);
        let same = nearest(key, same_shape).filter(|found| close(Some(found)));
        same.or_else(|| if most == 1 { None } else { nearest(key, other_shape) })
    };
    let meant = |word: &str| {
        let found = here().find(|w| w.key == word);
        let shown =
            if found.is_some_and(|w| w.table) { format!("[{}]", join(path, word)) } else { format!("`{word}`") };
        format!("did you mean {shown}?")
    };
    if let Some(word) = near(1) {
        return (message, meant(word));
    }
    // [route.api.v1]
    let named = matches!(kind.as_str(), "pool.NAME" | "route.NAME" | "listener.NAME");
    if *table && named && unknown.inner.iter().any(|key| here().any(|word| word.key == key)) && near(1).is_none() {
        return (message, format!("a name holds no dot: write [{path}-{key}]"));
    }
    // [healthcheck], [retry_policy].
    let begins = |word: &&Word<'_>| word.table && key.starts_with(word.key);
    if let Some(word) = here().find(begins).filter(|_| *table) {
        return (message, meant(word.key));
    }
    if let Some(hint) = elsewhere::key(kind, key, &home) {
        return (message, hint);
    }
    let elsewhere: Vec<&Word<'_>> =
        words.iter().filter(|w| w.key == key && w.table == *table && w.kind != kind).collect();
    if !elsewhere.is_empty() {
        let homes: Vec<String> = elsewhere.iter().map(|w| home(w.kind)).collect();
        let misplaced = format!("{shown} does not belong {place}");
        let below = |homes: &[String]| -> Vec<String> {
            let inside = |home: &String| home.trim_start_matches("to [").trim_end_matches(']').to_owned();
            homes.iter().map(inside).map(|home| format!("[{home}.{key}]")).collect()
        };
        return match homes.as_slice() {
            homes if *table && homes.iter().all(|home| home.starts_with("to [")) => {
                (misplaced, format!("write {}", either(&below(homes))))
            }
            [one] => (misplaced, format!("move it {one}")),
            homes if homes.len() <= 4 => (misplaced, format!("it belongs {}", either(homes))),
            _ => (misplaced, String::new()),
        };
    }
    // [app] with what a pool has.
    let has = |keys: &[&str]| unknown.inner.iter().any(|key| keys.contains(&key.as_str()));
    if *table && kind.is_empty() {
        for (keys, home) in [
            (&["upstreams", "upstream", "servers", "balance"][..], "pool"),
            (&["path", "hosts", "pool", "redirect", "respond"], "route"),
            (&["address", "listen", "port"], "listener"),
        ] {
            if has(keys) {
                return (message, format!("did you mean [{home}.{key}]?"));
            }
        }
    }
    if let Some(word) = near(usize::MAX) {
        return (message, meant(word));
    }
    let keys: Vec<&str> = here().map(|word| word.key).collect();
    (message, format!("known here: {}", keys.join(", ")))
}

/// Where a key belongs, with the names that the misplaced one stands among, or the only ones: `to [pool.app]`.
fn home(kind: &str, path: &str, names: &Names<'_>) -> String {
    if kind.is_empty() {
        return "to the top of the file, above the first [table]".into();
    }
    let only = match kind.split('.').next() {
        Some("pool") => names.pool,
        Some("route") => names.route,
        _ => names.listener,
    };
    let mut path = path.split('.');
    let mut same = true;
    let parts: Vec<&str> = kind
        .split('.')
        .map(|part| {
            let here = path.next();
            same &= here == Some(part) || (part == "NAME" && here.is_some());
            match part {
                "NAME" if same => here.unwrap_or(part),
                "NAME" => only.unwrap_or(part),
                part => part,
            }
        })
        .collect();
    let path = parts.join(".");
    path.strip_suffix(".upstreams").map_or_else(|| format!("to [{path}]"), |pool| format!("to upstreams of [{pool}]"))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// " (line 4)" when the place is in a file.
pub(super) fn line(place: &Place) -> String {
    place.line_and_column().map(|(line, _)| format!(" (line {line})")).unwrap_or_default()
}
