//! `admin.token_file`: reads the file once, and says what is wrong with it. The secret itself stands in no message.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::file;
use super::super::model::Token;
use super::super::problem::Place;
use super::super::read::Section;

/// More than any token has.
const LARGEST: u64 = 64 << 10;

/// The token, if a file is named and there is one in it.
pub(super) fn token(section: &Section<'_>) -> Option<Token> {
    let (name, place) = section.text("token_file", "admin.token", "").filter(|(name, _)| !name.is_empty())?;
    let path = section.cx.base.join(name);
    let (content, mode) = match read(&path) {
        Ok(read) => read,
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            section.cx.error(place, message, "paths start at the folder of this file; make one: openssl rand -hex 32");
            return None;
        }
    };
    let shown = path.display().to_string();
    match Token::read(&content, path) {
        Ok(token) => {
            foolish(section, place, &token, mode, &shown);
            Some(token)
        }
        Err((what, hint)) => {
            section.cx.error(place, format!("{shown} {what}"), hint);
            None
        }
    }
}

fn foolish(section: &Section<'_>, place: &Place, token: &Token, mode: u32, shown: &str) {
    if mode & 0o004 != 0 {
        let message = format!("everybody on this machine can read {shown}, and so change what runs here");
        section.cx.warn(place, message, format!("chmod o-r {shown}"));
    }
    if token.is_short() {
        section.cx.warn(place, "the token is so short that it can be guessed", "make one: openssl rand -hex 32");
    }
}

/// The content, and who may read it.
fn read(path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    Ok((file::read(path, LARGEST)?, mode))
}
