//! `${VAR}` and `${VAR:-default}` in text; `$${` is a literal `${`. A variable that is not set is a problem, never
//! an empty text. Problems name variables, never their values.

use super::problem::{Problem, Wrong};
use super::tree::{Table, Value};

/// Expands every text of the tree in place; what cannot be expanded is a problem.
pub(super) fn expand(table: &mut Table, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    for entry in &mut table.0 {
        node(&mut entry.node, env, problems);
    }
}

fn node(node: &mut super::tree::Node, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Text(found) => match text(found, env) {
            Ok(expanded) => *found = expanded,
            Err(wrong) => problems.push(Problem::error(&node.place, wrong)),
        },
        Value::Array(items) => items.iter_mut().for_each(|item| self::node(item, env, problems)),
        Value::Table(table) => expand(table, env, problems),
        Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
    }
}

/// One text.
fn text(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err(Wrong::new("\"${\" without \"}\"", "write ${VAR}, or $${ for a literal ${"));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let hint = "write ${VAR} or ${VAR:-default}, or $${ for a literal ${";
            return Err(Wrong::new(format!("\"{name}\" is not the name of a variable"), hint));
        }
        match (env(name), default) {
            (Some(value), None) => out.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (None, None) => {
                let hint = format!("set it, or give it a default: ${{{name}:-...}}");
                return Err(Wrong::new(format!("the environment has no variable {name}"), hint));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn variables_defaults_and_literals() {
        let env = |name: &str| match name {
            "PORT" => Some("3000".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, wanted) in [
            ("app:${PORT}", Some("app:3000")),
            ("${HOST:-app}:${PORT:-1}", Some("app:3000")),
            ("${EMPTY}|${EMPTY:-x}|${NO:-}", Some("|x|")),
            ("$${PORT} $ $$ $PORT", Some("${PORT} $ $$ $PORT")),
            ("${NO}", None),
            ("${PORT", None),
            ("${}", None),
            ("${1A}", None),
        ] {
            assert_eq!(super::text(text, &env).ok().as_deref(), wanted, "{text}");
        }
    }
}
