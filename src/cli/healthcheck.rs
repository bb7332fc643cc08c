//! `causeway healthcheck`: is the running proxy ready? For Docker's HEALTHCHECK and for Kubernetes.
//!
//! Exit code 0 or 1, never another: Docker keeps 2 for itself. It takes two seconds at most, whatever the other side
//! does.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cause::escape;
use crate::config::{self, Flags, ListenAddress};

use super::run::variable;

/// For all of it, names included.
const LIMIT: Duration = Duration::from_secs(2);
/// Of an answer, as much is read.
const ANSWER: u64 = 16 << 10;
/// Where the admin is unless somebody says otherwise.
const DEFAULT_ADMIN: &str = "127.0.0.1:9901";

/// The words of `causeway healthcheck`.
#[derive(Args, Debug)]
pub struct HealthcheckArgs {
    /// Also wants a usable upstream in this pool, or in every pool ("all")
    #[arg(long, value_name = "NAME|all")]
    pool: Option<String>,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

/// Asks once, says why not.
#[must_use]
pub fn run(args: HealthcheckArgs) -> ExitCode {
    let (send, receive) = mpsc::channel();
    // On a thread of its own, so that nothing, a name server included, can take longer than the limit.
    std::thread::spawn(move || {
        let _ = send.send(address(args.admin).and_then(|admin| ask(&admin, args.pool.as_deref())));
    });
    match receive.recv_timeout(LIMIT) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(why)) => super::failed("healthcheck", &why),
        Err(_) => {
            super::failed("healthcheck", &format!("no answer from the admin address within {} s", LIMIT.as_secs()))
        }
    }
}

/// The admin's `host:port`, as something to dial.
fn address(flag: Option<String>) -> Result<String, String> {
    let said = flag.or_else(|| variable("CAUSEWAY_ADMIN")).filter(|said| !said.is_empty());
    let Some(said) = said else {
        return match config::load(&Flags::default(), &variable).map(|loaded| loaded.config.admin) {
            Ok(Some(admin)) => Ok(dial(&admin)),
            Ok(None) => Err("the config has the admin address off, so there is nobody to ask".to_owned()),
            // A proxy started with flags alone has no config to be found here.
            Err(_) => Ok(DEFAULT_ADMIN.to_owned()),
        };
    };
    let said = said.strip_prefix("http://").unwrap_or(&said).trim_end_matches('/');
    let bare = said.strip_prefix(':').unwrap_or(said);
    if said == "off" {
        Err("the admin address is off, so there is nobody to ask".to_owned())
    } else if bare.bytes().all(|b| b.is_ascii_digit()) {
        Ok(format!("{}:{bare}", Ipv4Addr::LOCALHOST))
    } else {
        Ok(said.to_owned())
    }
}

/// Where a listening address is reached from this machine.
fn dial(admin: &ListenAddress) -> String {
    match admin {
        ListenAddress::Any(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        ListenAddress::Exact(addresses) => addresses.first().map_or_else(String::new, |address| {
            let mut address = *address;
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                IpAddr::V4(_) | IpAddr::V6(_) => {}
            }
            address.to_string()
        }),
    }
}

/// One `GET /readyz`; `Err` is the sentence.
fn ask(admin: &str, pool: Option<&str>) -> Result<(), String> {
    let path = pool.map_or_else(|| "/readyz".to_owned(), |pool| format!("/readyz?pool={}", escaped(pool)));
    let begun = Instant::now();
    let addresses =
        admin.to_socket_addrs().map_err(|error| format!("cannot use the admin address {admin}: {error}"))?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match exchange(address, admin, &path, LIMIT.saturating_sub(begun.elapsed())) {
            Ok(answer) => return judge(&answer, admin),
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on the admin address {admin}. Is causeway running?")
        }
        _ => format!("asking {admin} failed: {last}"),
    })
}

fn exchange(address: std::net::SocketAddr, admin: &str, path: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let limit = limit.max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

fn judge(answer: &[u8], admin: &str) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("");
    if status == "200" {
        return Ok(());
    }
    let why = text.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or("");
    Err(match status {
        "" => format!("{admin} does not speak HTTP: is it causeway's admin address?"),
        _ if why.is_empty() => format!("{admin} answered {status}"),
        _ => escape(why.as_bytes()),
    })
}

/// A pool's name inside a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        for (said, meant) in [
            ("9901", "127.0.0.1:9901"),
            (":9901", "127.0.0.1:9901"),
            ("http://localhost:1/", "localhost:1"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(Some(said.to_owned())).unwrap(), meant);
        }
        assert!(address(Some("off".to_owned())).is_err());
    }

    #[test]
    fn every_address_is_asked_at_its_loopback() {
        assert_eq!(dial(&ListenAddress::Any(9901)), "127.0.0.1:9901");
        let exact = |text: &str| dial(&ListenAddress::Exact(vec![text.parse().unwrap()]));
        assert_eq!(exact("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(exact("[::]:1"), "[::1]:1");
        assert_eq!(exact("10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn a_pool_cannot_change_the_request() {
        assert_eq!(escaped("a b\r\n&é"), "a%20b%0D%0A%26%C3%A9");
    }
}
