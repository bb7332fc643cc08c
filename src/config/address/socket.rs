//! `unix:/run/app.sock`: the address of a socket on this machine. It opens nothing.

use std::sync::Arc;

use super::super::problem::Wrong;

/// The kernel's room for a path, less the zero byte behind it (`sun_path`, unix(7)).
const LONGEST: usize = 107;

/// What stands behind `unix:`, if this is such an address.
pub(super) fn said(text: &str) -> Option<&str> {
    // nginx writes http://unix:/run/app.sock:/path.
    let bare = text.strip_prefix("http://").filter(|rest| rest.starts_with("unix:")).unwrap_or(text);
    bare.strip_prefix("unix:")
}

/// The path of a socket, or `@name` in the abstract namespace.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn path(text: &str, path: &str) -> Result<Arc<str>, Wrong> {
    let wrong = |what: String, hint: String| Err(Wrong::new(format!("\"{text}\": {what}"), hint));
    if path.starts_with("//") || text.starts_with("http://") {
        let meant = path.trim_start_matches('/').trim_end_matches([':', '/']);
        let what = "the address of a socket is unix: and its path".to_owned();
        return wrong(what, format!("write \"unix:/{meant}\""));
    }
    if path.is_empty() || path == "@" || path.ends_with('/') {
        return wrong("this names no socket".to_owned(), "write it like \"unix:/run/app.sock\"".to_owned());
    }
    if !path.starts_with(['/', '@']) {
        return wrong(
            "the path of a socket begins with /".to_owned(),
            format!("write \"unix:/{path}\", with its folder"),
        );
    }
    if path.len() > LONGEST {
        let what = format!("its path has {} bytes, and the kernel takes {LONGEST}", path.len());
        return wrong(what, "put the socket at a shorter path, like \"unix:/run/app.sock\"".to_owned());
    }
    // It stands in fields, labels and commands.
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic() || "\"'\\`$?#".contains(*c)) {
        let hint = "use letters, digits and \"/-_.@:+\"".to_owned();
        return wrong(format!("the path of a socket cannot hold \"{}\"", odd.escape_default()), hint);
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Endpoint, Host};

    #[test]
    fn a_socket_is_a_path() {
        let long = format!("unix:/{}", "x".repeat(106));
        for text in ["unix:/run/app.sock", "unix:/run/app@1.sock", "unix:@app", &long] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string(), address.port), (text.to_owned(), 0));
            assert!(matches!(&address.host, Host::Unix(path) if **path == text[5..]));
            let endpoint = Endpoint::literal(&address).unwrap();
            assert_eq!((&*endpoint.authority, endpoint.host()), (text, "localhost"));
        }
    }

    #[test]
    fn what_is_no_socket_says_why() {
        for (text, hint) in [
            ("unix:", "write it like \"unix:/run/app.sock\""),
            ("unix:@", "write it like \"unix:/run/app.sock\""),
            ("unix:run/app.sock", "write \"unix:/run/app.sock\", with its folder"),
            ("unix:///run/app.sock", "write \"unix:/run/app.sock\""),
            ("unix://run/app.sock", "write \"unix:/run/app.sock\""),
            ("http://unix:/run/app.sock:", "write \"unix:/run/app.sock\""),
            ("unix:/run/a b", "use letters, digits and \"/-_.@:+\""),
        ] {
            assert_eq!(Address::parse(text).unwrap_err().hint, hint, "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(Address::parse(&long).unwrap_err().message.contains("108 bytes, and the kernel takes 107"));
    }
}
