//! One POST over plain HTTP/1.1, on the thread of whoever calls: for a collector next door, which gets a batch every
//! few seconds. A connection for each; every wait has a limit, and so has the answer. Never called by traffic.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::settings::Collector;

/// An answer is an acknowledgement, or a sentence: more is not read.
const ANSWER_MOST: usize = 64 << 10;
const FIELDS_MOST: usize = 64;

/// What the collector said: a status, and the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Sends it and waits for the answer.
///
/// # Errors
/// What the system said, or that what came is no answer.
pub(super) fn post(to: &Collector, body: &[u8]) -> io::Result<Answer> {
    let end = Instant::now() + to.timeout;
    let mut stream = connect(to, end)?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: causeway/{}\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\nConnection: close\r\n",
        to.path,
        to.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    for (name, value) in &to.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    for mut left in [head.as_bytes(), body] {
        while !left.is_empty() {
            stream.set_write_timeout(Some(time_left(end)?))?;
            match stream.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => left = &left[taken..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(plain(error)),
            }
        }
    }
    let mut came = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(answer) = read(&came, false)? {
            return Ok(answer);
        }
        if came.len() > ANSWER_MOST {
            return Err(io::Error::other("its answer is too large"));
        }
        stream.set_read_timeout(Some(time_left(end)?))?;
        match stream.read(&mut piece) {
            Ok(0) => return read(&came, true)?.ok_or_else(|| io::Error::other("it closed without an answer")),
            Ok(count) => came.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(plain(error)),
        }
    }
}

/// To the first of its addresses that takes it.
fn connect(to: &Collector, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("its name has no address");
    for address in (&*to.host, to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time_left(end)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = plain(error),
        }
    }
    Err(last)
}

fn time_left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(plain(io::ErrorKind::TimedOut.into())) } else { Ok(left) }
}

/// The system's word for a socket's time limit is `Resource temporarily unavailable`.
fn plain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::other("it did not answer in time"),
        _ => error,
    }
}

/// The answer, if it is all there: so much is said by its Content-Length; without one its end is the connection's.
fn read(came: &[u8], closed: bool) -> io::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MOST];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(came) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(io::Error::other("its answer is not HTTP/1.1 (gRPC is at another port)")),
    };
    let status = head.code.unwrap_or_default();
    if status < 200 {
        return read(&came[length..], closed);
    }
    let said = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let said = said.and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse::<usize>().ok());
    let body = &came[length..];
    let body = match said {
        Some(said) if body.len() >= said => &body[..said],
        Some(_) if !closed => return Ok(None),
        // A status that says that all is well or not is worth more than a body nobody can read.
        _ if closed || status == 204 => body,
        _ => return Ok(None),
    };
    Ok(Some(Answer { status, body: body.to_vec() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_length_says_so_or_its_connection_ends() {
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut], false).unwrap(), None, "{cut}");
        }
        assert_eq!(read(whole, false).unwrap(), Some(Answer { status: 200, body: b"ab".to_vec() }));
        let open = b"HTTP/1.1 503 No\r\n\r\nbusy";
        assert_eq!(read(open, false).unwrap(), None);
        assert_eq!(read(open, true).unwrap(), Some(Answer { status: 503, body: b"busy".to_vec() }));
        assert!(read(b"\0\0\x06\x04\0\0\0\0\0", false).unwrap_err().to_string().contains("gRPC"));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_can_break_it(bytes: Vec<u8>, closed: bool) {
            let _ = read(&bytes, closed);
        }
    }
}
