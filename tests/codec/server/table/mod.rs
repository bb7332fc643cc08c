//! What clients say, by hand, good and bad, each with what the codec makes of it. The fuzz target starts from them.

mod chunked;
mod connection;
mod fields;
mod lengths;
mod lines;

/// What the codec makes of what a client says, when the client then says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All requests are whole, and the connection takes the next one.
    Kept,
    /// All requests are whole, and the connection has ended.
    Once,
    /// The body of the last one is broken.
    Cut,
    /// More must come, of a head or of a body.
    Waits,
    /// The last head is none.
    Refused,
}

/// What one client says.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub verdict: Verdict,
    pub stream: Vec<u8>,
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [lines::rows(), fields::rows(), lengths::rows(), chunked::rows(), connection::rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn row(verdict: Verdict, name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    Row { name, verdict, stream: stream.as_ref().to_vec() }
}

fn kept(name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    row(Verdict::Kept, name, stream)
}

fn once(name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    row(Verdict::Once, name, stream)
}

fn cut(name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    row(Verdict::Cut, name, stream)
}

fn waits(name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    row(Verdict::Waits, name, stream)
}

fn refused(name: &'static str, stream: impl AsRef<[u8]>) -> Row {
    row(Verdict::Refused, name, stream)
}

/// A request: its line, field lines, body.
fn message(line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut request = format!("{line}\r\n").into_bytes();
    for line in lines {
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body.as_ref());
    request
}

fn get(lines: &[&str]) -> Vec<u8> {
    message("GET / HTTP/1.1", lines, "")
}

fn post(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    message("POST / HTTP/1.1", lines, body)
}
