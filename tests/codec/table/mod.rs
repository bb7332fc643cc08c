//! Answers by hand, good and bad, each with what the codec makes of it as the answer to a GET. The fuzz target starts
//! from them.

mod bodiless;
mod chunked;
mod connection;
mod fields;
mod lengths;
mod status;

/// What the codec makes of an answer to a GET: of a connection that stays open, or, where that leaves it waiting for
/// more, of one that is closed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Complete, and the connection took the next request.
    Kept,
    /// Complete, and the connection ended.
    Once,
    /// A head, then a body that failed.
    Cut,
    /// A tunnel.
    Tunnel,
    /// No head.
    Refused,
}

/// One answer.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub verdict: Verdict,
    pub answer: Vec<u8>,
    /// It is there before the request.
    pub early: bool,
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [lengths::rows(), chunked::rows(), bodiless::rows(), status::rows(), fields::rows(), connection::rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn row(verdict: Verdict, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    Row { name, verdict, answer: answer.as_ref().to_vec(), early: false }
}

fn kept(name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    row(Verdict::Kept, name, answer)
}

fn once(name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    row(Verdict::Once, name, answer)
}

fn cut(name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    row(Verdict::Cut, name, answer)
}

fn tunnel(name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    row(Verdict::Tunnel, name, answer)
}

fn refused(name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    row(Verdict::Refused, name, answer)
}

/// An answer: status line, field lines, body.
fn message(status: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut answer = format!("{status}\r\n").into_bytes();
    for line in lines {
        answer.extend_from_slice(line.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(body.as_ref());
    answer
}

fn ok(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    message("HTTP/1.1 200 OK", lines, body)
}
