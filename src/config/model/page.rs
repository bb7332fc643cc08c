//! `errors.page`: a page of the operator's own, as text and places to fill in.

/// The pieces of a page, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(pub Vec<Part>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands in the file.
    Text(String),
    /// A place to fill in.
    Value(Placeholder),
}

/// What can stand between `{{` and `}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // their words say it
pub enum Placeholder {
    Status,
    Cause,
    Hint,
    RequestId,
    Upstream,
    Pool,
    ClientIp,
    Host,
    Scheme,
    Path,
}

impl Placeholder {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 10] = [
        ("status", Self::Status),
        ("cause", Self::Cause),
        ("hint", Self::Hint),
        ("request_id", Self::RequestId),
        ("upstream", Self::Upstream),
        ("pool", Self::Pool),
        ("client_ip", Self::ClientIp),
        ("host", Self::Host),
        ("scheme", Self::Scheme),
        ("path", Self::Path),
    ];
}
