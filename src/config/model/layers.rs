//! What a route asks for around its answer: who may come in, how often, and what is done to fields and bodies. Secrets
//! stand in no message and in no debugger's view.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Networks, Part};

/// `compress`, `rate_limit`, `allow`, `deny`, `basic_auth`, `request_headers`, `response_headers` of `[route.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Answers are compressed for clients that ask for it.
    pub compress: bool,
    /// For each client address: else 429.
    pub rate_limit: Option<Rate>,
    /// Empty: everybody. Else everybody else gets 403.
    pub allow: Networks,
    /// These get 403, whatever `allow` says.
    pub deny: Networks,
    /// Who may come in with a password: else 401.
    pub basic_auth: Option<Arc<Users>>,
    /// Done to the request, after causeway's own fields.
    pub request_headers: FieldRules,
    /// Done to the answer, after causeway's own fields.
    pub response_headers: FieldRules,
}

impl Layers {
    /// Is nothing asked for?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { compress, rate_limit, allow, deny, basic_auth, request_headers, response_headers } = self;
        let open = rate_limit.is_none() && allow.0.is_empty() && deny.0.is_empty() && basic_auth.is_none();
        !compress && open && request_headers.is_empty() && response_headers.is_empty()
    }
}

/// `"100/s"`: so many in each such time, as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            3600 => "h",
            60 => "m",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// What an htpasswd file holds: at least one user. Names and hashes are shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    /// The file that they came from.
    pub file: PathBuf,
    /// Name and bcrypt hash, in the order of the file; no name twice.
    pub all: Vec<(String, String)>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("file", &self.file).field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// `set`, `add` and `remove` of fields. A name stands in `set` once, and in no other list with it but `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// In place of every field of this name.
    pub set: Vec<(HeaderName, FieldValue)>,
    /// Beside what there is.
    pub add: Vec<(HeaderName, FieldValue)>,
    /// Gone.
    pub remove: Vec<HeaderName>,
}

impl FieldRules {
    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Does the field that was there go?
    #[must_use]
    pub fn replaces(&self, name: &HeaderName) -> bool {
        self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name)
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// As it stands.
    Fixed(HeaderValue),
    /// With placeholders, filled in for each request.
    Filled(Vec<Part>),
}
