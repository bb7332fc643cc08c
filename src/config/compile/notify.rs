//! `[notify]`: a command, a URL, or both.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;

use super::super::address::{Address, Scheme};
use super::super::model::{Notify, Webhook};
use super::super::problem::Wrong;
use super::super::read::Section;
use super::pool_tls;

/// Reads the table.
pub(super) fn notify(root: &Section<'_>, name_servers: &Arc<[SocketAddr]>) -> Notify {
    let section = root.section("notify");
    let notify = Notify { command: command(&section), url: url(&section, name_servers) };
    if section.present() && section.keys().next().is_none() {
        section.cx.warn(&section.place, "[notify] tells nobody", "give it command or url");
    }
    notify
}

fn command(section: &Section<'_>) -> Vec<String> {
    let word = |word: &str| {
        let whole = !word.contains('\0');
        whole
            .then(|| word.to_owned())
            .ok_or_else(|| Wrong::new("a word of a command holds no zero byte", "take it out"))
    };
    let mut words = section.texts_with_places("command", "/usr/local/bin/restart", word);
    let Some((program, place)) = words.first_mut() else { return Vec::new() };
    if program.trim().is_empty() {
        let hint = "write command = [\"/usr/local/bin/restart\"], or take it out";
        section.cx.error(place, "`command` has no program", hint);
    } else if program.contains('/') {
        // As other files that are named here.
        let file = section.cx.base.join(&*program);
        if !file.is_file() {
            let message = format!("there is no file {}", file.display());
            section.cx.warn(place, message, "nothing can be run until there is one");
        }
        *program = file.to_string_lossy().into_owned();
    } else if program.contains(char::is_whitespace) {
        let words: Vec<String> = program.split_whitespace().map(|word| format!("\"{word}\"")).collect();
        let message = format!("\"{program}\" would be the name of one program");
        section.cx.error(place, message, format!("write command = [{}]", words.join(", ")));
    }
    words.into_iter().map(|(word, _)| word).collect()
}

fn url(section: &Section<'_>, name_servers: &Arc<[SocketAddr]>) -> Option<Webhook> {
    let (text, place) = section.text("url", "http://127.0.0.1:9000/hook", "").filter(|(text, _)| !text.is_empty())?;
    let (address, target) = section.cx.take(place, webhook(text))?;
    let tls = match address.scheme {
        Scheme::Https => Some(section.cx.take(place, pool_tls::usual(section.cx.cert_file.as_deref()))?),
        Scheme::Http | Scheme::H2c => None,
    };
    Some(Webhook { address, tls, target, name_servers: Arc::clone(name_servers) })
}

fn webhook(text: &str) -> Result<(Address, PathAndQuery), Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Wrong::new("`url` has no scheme", format!("write \"http://{text}\"")));
    };
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(&*scheme, "http" | "https") {
        let message = format!("there is no posting to {scheme}://");
        return Err(Wrong::new(message, "write one like \"https://hooks.example/a\""));
    }
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(Wrong::new("`url` holds no user", "curl takes one: command = [\"curl\", ...]"));
    }
    let address = Address::parse(&format!("{scheme}://{authority}"))?;
    let fine = |target: &str| target.bytes().all(|byte| byte.is_ascii_graphic()) && !target.contains('#');
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    let parsed = PathAndQuery::try_from(target.as_str()).ok().filter(|_| fine(&target));
    let wrong = || Wrong::new("`url` has signs that no address may have", "write them as %20 and such");
    Ok((address, parsed.ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_what_stands_behind_it() {
        let read = |text| webhook(text).map(|(address, target)| (address.to_string(), target.to_string()));
        let is = |address: &str, target: &str| Ok((address.to_owned(), target.to_owned()));
        assert_eq!(read("http://hooks"), is("hooks:80", "/"));
        assert_eq!(read("HTTP://[::1]:9000/a/b?c=d"), is("[::1]:9000", "/a/b?c=d"));
        assert_eq!(read("http://localhost:9000?x"), is("localhost:9000", "/?x"));
        assert_eq!(read("https://hooks.example/T/B?x"), is("https://hooks.example:443", "/T/B?x"));
        assert_eq!(read("HTTPS://[::1]:9000"), is("https://[::1]:9000", "/"));
        for (text, said) in [
            ("127.0.0.1:9000/hook", "has no scheme"),
            ("ftp://hooks/a", "no posting to ftp://"),
            ("http://me:secret@hooks/a", "holds no user"),
            ("http://hooks/a b", "signs that no address"),
            ("http://hooks/a#b", "signs that no address"),
            ("http://hooks:0/", "port 0"),
            ("http:///a", "no host"),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.message.contains(said), "{text}: {wrong:?}");
        }
    }
}
