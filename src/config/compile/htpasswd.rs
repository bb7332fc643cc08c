//! `route.NAME.basic_auth`: reads an htpasswd file once, and says what is wrong with it, by its lines. Names and hashes
//! stand in no message.

use std::collections::HashSet;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::super::file;
use super::super::model::Users;
use super::super::problem::{Place, Problem, Wrong};
use super::super::read::Section;

/// More than any list of users has.
const LARGEST: u64 = 1 << 20;
/// Each step doubles the time that a password takes: this is about three seconds.
const SLOWEST: u32 = 15;

const MAKE: &str = "make it: htpasswd -B -C 10 FILE USER";

/// The users, if a file is named and nothing is wrong with it.
pub(super) fn users(section: &Section<'_>) -> Option<Arc<Users>> {
    let (name, place) = section.text("basic_auth", "users.htpasswd", "").filter(|(name, _)| !name.is_empty())?;
    let path = section.cx.base.join(name);
    let shown = path.display().to_string();
    let problem = |place: &Place, wrong: Wrong| section.cx.problems.borrow_mut().push(Problem::error(place, wrong));
    let (text, mode) = match read(&path) {
        Ok(read) => read,
        Err(wrong) => {
            problem(place, wrong);
            return None;
        }
    };
    if mode & 0o004 != 0 {
        let message = format!("everybody on this machine can read {shown}, and try passwords on its hashes");
        section.cx.warn(place, message, format!("chmod o-r {shown}"));
    }
    let (all, wrong) = entries(&text);
    let sound = wrong.is_empty();
    // The line itself would show a hash: its number has to do.
    for (line, message, hint) in wrong {
        problem(place, Wrong::new(format!("{shown}, line {line}: {message}"), hint));
    }
    if sound && all.is_empty() {
        problem(place, Wrong::new(format!("{shown} has no user in it"), MAKE));
        return None;
    }
    sound.then(|| Arc::new(Users { file: path, all }))
}

/// The content, and who may read it.
fn read(path: &Path) -> Result<(String, u32), Wrong> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        Wrong::new(format!("cannot read {shown}: {error}"), format!("paths start at the folder of this file; {MAKE}"))
    };
    let mode = std::fs::metadata(path).map_err(cannot)?.permissions().mode();
    let bytes = file::read(path, LARGEST).map_err(cannot)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Wrong::new(format!("{shown} is too large"), "a list of users may have 1MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| Wrong::new(format!("{shown} is not UTF-8"), "save it as UTF-8"))?;
    Ok((text, mode))
}

type Entries = Vec<(String, String)>;

/// Each user once, and each line that cannot be one.
fn entries(text: &str) -> (Entries, Vec<(usize, String, String)>) {
    let (mut all, mut wrong, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line) {
            Ok((name, _)) if !names.insert(name) => {
                wrong.push((index + 1, "this user stands in the file already".into(), "take one of them out".into()));
            }
            Ok((name, hash)) => all.push((name.to_owned(), hash.to_owned())),
            Err((message, hint)) => wrong.push((index + 1, message.into(), hint.into())),
        }
    }
    (all, wrong)
}

fn entry(line: &str) -> Result<(&str, &str), (&'static str, &'static str)> {
    let (name, hash) = line.split_once(':').ok_or(("this is no name and hash with \":\" between them", MAKE))?;
    if name.is_empty() {
        return Err(("there is no name before the \":\"", MAKE));
    }
    if !["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind)) {
        return Err(("this password is not hashed with bcrypt", "make it new: htpasswd -B -C 10 FILE USER"));
    }
    let cost = is_bcrypt(hash).ok_or(("this hash is not whole", "make it new: htpasswd -B -C 10 FILE USER"))?;
    if cost > SLOWEST {
        return Err(("this hash takes seconds to check (cost above 15)", "make it new: htpasswd -B -C 12 FILE USER"));
    }
    Ok((name, hash))
}

/// `$2y$10$` and 53 characters of its own base 64: its cost.
fn is_bcrypt(hash: &str) -> Option<u32> {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let own: Range<usize> = 7..60;
    let sound = hash.len() == own.end && hash.get(own)?.bytes().all(alphabet);
    let parts: bcrypt::HashParts = hash.parse().ok().filter(|_| sound)?;
    Some(parts.get_cost()).filter(|cost| (4..=31).contains(cost))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    #[test]
    fn only_a_regular_file_is_read_and_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("users"), folder.path().join("pipe"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe).unwrap_err().message.ends_with("it is a pipe, and not a regular file"));
        std::fs::write(&file, vec![b'#'; 1 << 20]).unwrap();
        assert_eq!(read(&file).unwrap().0.len(), 1 << 20);
        std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(read(&file).unwrap_err().message.ends_with("is too large"));
    }

    #[test]
    fn a_file_is_users_and_nothing_else() {
        let text = format!("# who\n\nann:{HASH}\r\nbob:{HASH}\n");
        let (all, wrong) = entries(&text);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(all, [("ann".to_owned(), HASH.to_owned()), ("bob".to_owned(), HASH.to_owned())]);
        for (line, said) in [
            ("ann".to_owned(), "no name and hash"),
            (format!(":{HASH}"), "no name before"),
            ("ann:$apr1$x$y".to_owned(), "not hashed with bcrypt"),
            ("ann:{SHA}x".to_owned(), "not hashed with bcrypt"),
            (format!("ann:{}", &HASH[..59]), "not whole"),
            (format!("ann:{HASH}x"), "not whole"),
            (format!("ann:{}", HASH.replace("$05$", "$16$")), "takes seconds"),
            (format!("ann:{HASH}\nann:{HASH}"), "already"),
        ] {
            let wrong = entries(&line).1;
            assert!(wrong.len() == 1 && wrong[0].1.contains(said), "{line}: {wrong:?}");
            assert!(!wrong[0].1.contains("ann"), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "\\PC{0,80}|a:\\$2y\\$[0-9]{2}\\$\\PC{0,60}") {
            let _ = entries(&line);
        }
    }
}
