//! How a command asks the running proxy: which address, one GET, PUT or POST, and why there was no answer.
//!
//! Nothing can take longer than its limit, name servers included. What comes back is not believed: it may be anybody's.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::address::ADMIN;
use crate::config::model::Token;
use crate::config::problem::ascii;
use crate::config::{self, Flags};

use super::run::variable;

/// How an answer begins.
const HTTP: &[u8] = b"HTTP/1.";

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// `--admin`.
    pub(super) admin: Option<String>,
    /// Path and query.
    pub(super) target: String,
    /// The value of Accept.
    pub(super) accept: &'static str,
    /// For all of it.
    pub(super) limit: Duration,
    /// Of an answer, as many bytes are read.
    pub(super) most: u64,
}

/// What a change says, and by what right.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// JSON, or nothing.
    pub(super) body: String,
    /// For an admin on another machine.
    pub(super) token: Option<Token>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Who was asked, `host:port`.
    pub(super) admin: String,
    /// Its status; 0: that was no HTTP.
    pub(super) status: u16,
    /// Its Content-Type, small, without parameters.
    pub(super) kind: String,
    /// Who says that it made it: Server; else empty.
    maker: String,
    /// As far as it was read.
    pub(super) body: String,
    /// The beginning was read, the rest was not.
    pub(super) cut: bool,
}

/// Why nobody answered: one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unasked(String);

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Answer {
    /// That this is not what causeway's admin says, and what it is: one sentence.
    pub(super) fn of_somebody_else(&self) -> String {
        let admin = ascii(&self.admin);
        if self.status == 0 {
            return format!("{admin} does not speak HTTP: something else than causeway listens there.");
        }
        let facts = [self.status.to_string(), ascii(&self.kind), ascii(&self.maker)];
        let facts: Vec<String> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
        format!("{admin} answers, but not as causeway does ({}): something else listens there.", facts.join(", "))
    }
}

impl Question {
    /// Asks once.
    pub(super) fn ask(self) -> Result<Answer, Unasked> {
        self.send(None)
    }

    /// Says something once, by PUT.
    pub(super) fn put(self, change: Change) -> Result<Answer, Unasked> {
        self.send(Some(("PUT", change)))
    }

    /// The same by POST.
    pub(super) fn post(self, change: Change) -> Result<Answer, Unasked> {
        self.send(Some(("POST", change)))
    }

    fn send(self, change: Option<(&'static str, Change)>) -> Result<Answer, Unasked> {
        let (send, receive) = mpsc::channel();
        let limit = self.limit;
        // On a thread of its own: a name server has clocks of its own.
        std::thread::spawn(move || {
            let _ = send.send(address(self.admin.as_deref()).and_then(|admin| self.at(admin, change.as_ref())));
        });
        let late = || Err(Unasked(format!("no answer from the admin address within {} s", limit.as_secs())));
        receive.recv_timeout(limit).unwrap_or_else(|_| late())
    }

    fn at(&self, admin: String, change: Option<&(&'static str, Change)>) -> Result<Answer, Unasked> {
        let begun = Instant::now();
        let addresses = admin.to_socket_addrs();
        let addresses = addresses.map_err(|error| Unasked(format!("cannot use the admin address {admin}: {error}")))?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match self.exchange(address, change, self.limit.saturating_sub(begun.elapsed())) {
                Ok(raw) => return Ok(read(admin, &raw, self.most)),
                Err(error) => last = error,
            }
        }
        Err(Unasked(match last.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!("nothing listens on the admin address {admin}. Is causeway running?")
            }
            _ => format!("asking {admin} failed: {last}"),
        }))
    }

    /// Host is the address that was dialled: a name could be anybody's, and gets no answer to some questions.
    fn exchange(
        &self,
        address: SocketAddr,
        change: Option<&(&'static str, Change)>,
        limit: Duration,
    ) -> io::Result<Vec<u8>> {
        let (begun, limit) = (Instant::now(), limit.max(Duration::from_millis(1)));
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_write_timeout(Some(limit))?;
        let Self { target, accept, .. } = self;
        // In one piece: who answers before it was read to its end would break the rest off.
        let common = format!("{target} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n");
        let whole = match change {
            None => format!("GET {common}\r\n"),
            Some((method, Change { body, token })) => {
                let right = token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.text()));
                let (right, length) = (right.unwrap_or_default(), body.len());
                format!(
                    "{method} {common}{right}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            }
        };
        stream.write_all(whole.as_bytes())?;
        let (mut answer, mut piece, mut whole) = (Vec::new(), [0; 16 << 10], None);
        while (answer.len() as u64) <= self.most {
            let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece)? {
                0 => break,
                read => answer.extend_from_slice(&piece[..read]),
            }
            // What is no HTTP need not be waited for.
            let begun = answer.len().min(HTTP.len());
            if answer[..begun] != HTTP[..begun] {
                break;
            }
            whole = whole.or_else(|| length(&answer));
            if whole.is_some_and(|whole| answer.len() >= whole) {
                break;
            }
        }
        Ok(answer)
    }
}

/// The admin's `host:port`, as something to dial.
fn address(flag: Option<&str>) -> Result<String, Unasked> {
    let said = flag.map(str::to_owned).or_else(|| variable("CAUSEWAY_ADMIN")).filter(|said| !said.is_empty());
    let Some(said) = said else {
        return match config::load(&Flags::default(), &variable).map(|loaded| loaded.config.admin) {
            Ok(Some(admin)) => Ok(admin.reached_at().to_string()),
            Ok(None) => Err(Unasked("the config has the admin address off, so there is nobody to ask".to_owned())),
            // A file that is wrong elsewhere still says where the proxy is that runs with the one before it. And one
            // started with flags alone has no config to be found here.
            Err(_) => match config::load::admin_said(&variable) {
                Some(said) if !said.is_empty() => address(Some(&said)),
                _ => Ok(ADMIN.to_string()),
            },
        };
    };
    let said = said.strip_prefix("http://").unwrap_or(&said).trim_end_matches('/');
    let bare = said.strip_prefix(':').unwrap_or(said);
    if said == "off" {
        Err(Unasked("the admin address is off, so there is nobody to ask".to_owned()))
    } else if bare.bytes().all(|b| b.is_ascii_digit()) {
        Ok(format!("{}:{bare}", Ipv4Addr::LOCALHOST))
    } else {
        Ok(said.to_owned())
    }
}

/// How long all of it is, once its head is there and says so: who does not close the connection is not waited for.
fn length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse::<usize>().ok()?.checked_add(end + 4)
}

fn read(admin: String, raw: &[u8], most: u64) -> Answer {
    let text = String::from_utf8_lossy(raw);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|status| status.parse().ok());
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let field = |wanted: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let value = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value.trim());
        value.chars().take(80).collect::<String>()
    };
    let kind = field("content-type").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let cut = raw.len() as u64 > most;
    Answer { admin, status: status.unwrap_or(0), kind, maker: field("server"), body: body.to_owned(), cut }
}

/// A value inside a path or a query.
pub(super) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;

    #[test]
    fn an_address_may_be_short() {
        for (said, meant) in [
            ("9901", "127.0.0.1:9901"),
            (":9901", "127.0.0.1:9901"),
            ("http://localhost:1/", "localhost:1"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(Some(said)).unwrap(), meant);
        }
        assert!(address(Some("off")).is_err());
    }

    #[test]
    fn every_address_is_asked_at_its_loopback() {
        assert_eq!(ListenAddress::Any(9901).reached_at(), ADMIN);
        let exact = |text: &str| ListenAddress::Exact(vec![text.parse().unwrap()]).reached_at().to_string();
        assert_eq!(exact("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(exact("[::]:1"), "[::1]:1");
        assert_eq!(exact("10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn a_value_cannot_change_the_request() {
        assert_eq!(escaped("a b\r\n&é"), "a%20b%0D%0A%26%C3%A9");
    }

    #[test]
    fn the_head_says_how_long_an_answer_is() {
        assert_eq!(length(b"HTTP/1.1 200 OK\r\nContent-length: 2\r\n\r\nab"), Some(40));
        for open in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        ] {
            assert_eq!(length(open), None);
        }
    }

    #[test]
    fn an_answer_is_read_as_far_as_it_is_one() {
        let of = |raw: &str| {
            let answer = read("a:1".into(), raw.as_bytes(), 100);
            (answer.status, answer.body)
        };
        let told =
            read("a:1".into(), b"HTTP/1.1 200 OK\r\nserver: x/1\r\nContent-Type: Text/HTML; charset=a\r\n\r\n", 9);
        let said = "a:1 answers, but not as causeway does (200, text/html, x/1): something else listens there.";
        assert_eq!(told.of_somebody_else(), said);
        assert_eq!(of("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\nmore"), (200, "body\r\n\r\nmore".into()));
        assert_eq!(of("HTTP/1.1 404"), (404, String::new()));
        for strange in ["", "SSH-2.0-x\r\n", "HTTP/1.1 2", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(of(strange).0, 0, "{strange}");
        }
    }
}
