//! The secret of `admin.token_file`: who has it may change things from another machine. Never shown, not even to a
//! debugger's eye.

use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

/// The fewest characters that are not easily guessed.
const GUESSED: usize = 16;
/// The most.
const LONGEST: usize = 4096;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: Arc<str>,
    /// The file that it came from.
    pub file: PathBuf,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Token {
    /// The content of such a file, less the white space around it.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the file's name, and what to do.
    pub fn read(content: &[u8], file: PathBuf) -> Result<Self, (&'static str, &'static str)> {
        let make = "make one: openssl rand -hex 32";
        let text = content.trim_ascii();
        if text.is_empty() {
            return Err(("is empty", make));
        }
        match std::str::from_utf8(text) {
            Ok(text) if text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self { text: text.into(), file })
            }
            _ => Err(("holds more than one word of ASCII", make)),
        }
    }

    /// Is this it? Takes as long for one that is nearly right as for one that is not right at all.
    #[must_use]
    pub fn is(&self, said: &[u8]) -> bool {
        let own = self.text.as_bytes();
        let differ = own.iter().zip(said).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
        own.len() == said.len() && differ == 0
    }

    /// For the wire.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Is it so short that it could be guessed?
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.text.len() < GUESSED
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(text: &str) -> Result<Token, (&'static str, &'static str)> {
        Token::read(text.as_bytes(), "f".into())
    }

    #[test]
    fn a_file_is_one_word() {
        assert_eq!(token(" s3cret\r\n").unwrap().text(), "s3cret");
        for (wrong, why) in
            [("", "is empty"), (" \n", "is empty"), ("two words", "holds more than"), ("\u{e4}", "holds")]
        {
            assert!(token(wrong).unwrap_err().0.starts_with(why), "{wrong:?}");
        }
        assert!(token(&"x".repeat(4097)).is_err());
        assert!(!format!("{:?}", token("s3cret")).contains("s3cret"));
        assert!(token("123456789012345").unwrap().is_short() && !token("1234567890123456").unwrap().is_short());
    }

    proptest! {
        #[test]
        fn only_the_same_word_is_it(one in "[!-~]{1,20}", other in proptest::collection::vec(any::<u8>(), 0..20)) {
            let token = token(&one).unwrap();
            prop_assert!(token.is(one.as_bytes()));
            prop_assert_eq!(token.is(&other), other == one.as_bytes());
            prop_assert!(!token.is(&one.as_bytes()[..one.len() - 1]) && !token.is(&[one.as_bytes(), b"x"].concat()));
        }
    }
}
