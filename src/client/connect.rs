//! Opening a connection: the connect clock, both families of `localhost`, sockets of this machine, and the causes of a
//! connection that does not come about. Never a byte of HTTP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::Stream;
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::config::Endpoint;
use crate::config::address::Dial;

/// The first address gets this much of a head start over the next one (RFC 8305 §5 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(300);

/// Opens a connection to the endpoint within `limit`, with `TCP_NODELAY`.
///
/// # Errors
/// The `dns_*` cause of an endpoint without an address (phase `resolve`), else the cause of phase `connect`.
pub async fn dial(endpoint: &Endpoint, limit: Duration) -> Result<Stream, Failure> {
    let addresses = match &endpoint.dial {
        Dial::Addresses(addresses) => addresses,
        Dial::Socket(path) => return socket(path, limit).await,
        Dial::Unresolved(why) => return Err(unresolved(why.as_ref())),
    };
    let connected = match addresses.as_slice() {
        [only] => timeout(limit, connect(*only)).await,
        several => timeout(limit, race(several)).await,
    };
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(error)),
        Err(_elapsed) => return Err(Failure::new(Cause::ConnectTimeout).limit(spoken(limit))),
    };
    // A socket that refuses the option still works, only with Nagle's delays.
    let _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

/// A socket of this machine. Its queue may be full (`EAGAIN`): the kernel does not wait, so this does.
async fn socket(path: &str, limit: Duration) -> Result<Stream, Failure> {
    const AGAIN: Duration = Duration::from_millis(20);
    let name = path.strip_prefix('@').map_or_else(|| path.to_owned(), |name| format!("\0{name}"));
    let connected = timeout(limit, async {
        loop {
            match UnixStream::connect(&name).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(AGAIN).await,
                connected => return connected,
            }
        }
    });
    match connected.await {
        Ok(Ok(stream)) => Ok(Stream::Unix(stream)),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::new(Cause::SocketMissing).from(error),
            io::ErrorKind::PermissionDenied => Failure::new(Cause::SocketDenied).from(error),
            _ => failed(error),
        }),
        Err(_elapsed) => Err(Failure::new(Cause::ConnectTimeout).limit(spoken(limit))),
    }
}

/// Dials the first address, and the rest [`HEAD_START`] later, or at once when the first has failed. The first that
/// stands wins; if none does, the first one's error is told, unless another says more (refused).
fn race(addresses: &[SocketAddr]) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + '_>> {
    Box::pin(async move {
        let [first, rest @ ..] = addresses else {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to dial"));
        };
        let mut preferred = std::pin::pin!(connect(*first));
        if rest.is_empty() {
            return preferred.await;
        }
        let failed = tokio::select! {
            connected = &mut preferred => match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => Some(error),
            },
            () = sleep(HEAD_START) => None,
        };
        let Some(error) = failed else {
            let mut others = race(rest);
            return tokio::select! {
                connected = &mut preferred => match connected {
                    Ok(stream) => Ok(stream),
                    Err(error) => others.await.map_err(|other| telling(error, other)),
                },
                connected = &mut others => match connected {
                    Ok(stream) => Ok(stream),
                    Err(other) => preferred.await.map_err(|error| telling(error, other)),
                },
            };
        };
        race(rest).await.map_err(|other| telling(error, other))
    })
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await.and_then(|stream| to_another(stream, address))
}

/// A port of this machine on which nobody listens can be the very one that the kernel picks for our side: then TCP
/// connects the socket to itself. Nobody is there, and the app must still get its port.
fn to_another(stream: TcpStream, address: SocketAddr) -> io::Result<TcpStream> {
    let itself = address.ip().is_loopback() && stream.local_addr().is_ok_and(|local| local == address);
    if !itself {
        return Ok(stream);
    }
    // With a reset in place of a close: no TIME_WAIT holds the port.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    Err(io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error()))
}

/// Of two errors, the one to report.
fn telling(preferred: io::Error, other: io::Error) -> io::Error {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if !refused(&preferred) && refused(&other) { other } else { preferred }
}

fn failed(error: io::Error) -> Failure {
    let failure = Failure::new(cause(&error)).in_phase(Phase::Connect);
    let own = error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error());
    let failure = match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(most) if own => failure.seen(format!("{most} are open")),
        _ => failure,
    };
    failure.from(error)
}

fn cause(error: &io::Error) -> Cause {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionReset | Kind::ConnectionAborted => return Cause::ConnectReset,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => return Cause::Unreachable,
        Kind::AddrNotAvailable => return Cause::PortsExhausted,
        Kind::TimedOut => return Cause::ConnectTimeout,
        _ => {}
    }
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    match errno {
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => Cause::FilesExhausted,
        // What is left has no way to the upstream either: a firewall's EPERM or EACCES, an address family without a
        // stack.
        Some(e) if e != rustix::io::Errno::CONNREFUSED => Cause::Unreachable,
        _ => Cause::ConnectionRefused,
    }
}

fn unresolved(why: Option<&(Cause, String)>) -> Failure {
    match why {
        Some((cause, said)) => Failure::new(*cause).in_phase(Phase::Resolve).seen(said),
        None => Failure::new(Cause::DnsFailure).in_phase(Phase::Resolve).seen("the name is not resolved yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn every_errno_of_a_connect_has_its_cause() {
        for (errno, wanted) in [
            (Errno::CONNREFUSED, Cause::ConnectionRefused),
            (Errno::HOSTUNREACH, Cause::Unreachable),
            (Errno::NETUNREACH, Cause::Unreachable),
            (Errno::ACCESS, Cause::Unreachable),
            (Errno::TIMEDOUT, Cause::ConnectTimeout),
            (Errno::CONNRESET, Cause::ConnectReset),
            (Errno::ADDRNOTAVAIL, Cause::PortsExhausted),
            (Errno::MFILE, Cause::FilesExhausted),
            (Errno::NFILE, Cause::FilesExhausted),
        ] {
            assert_eq!(cause(&io::Error::from_raw_os_error(errno.raw_os_error())), wanted, "{errno}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_met_itself_is_refused_and_frees_the_port() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let itself = socket.local_addr().unwrap();
        let error = to_another(socket.connect(itself).await.unwrap(), itself).unwrap_err();
        assert_eq!(cause(&error), Cause::ConnectionRefused);
        let app = tokio::net::TcpSocket::new_v4().unwrap(); // without SO_REUSEADDR
        app.bind(itself).unwrap();
        let app = app.listen(1).unwrap();
        assert!(connect(app.local_addr().unwrap()).await.is_ok());
    }

    #[test]
    fn of_two_families_a_refusal_says_more_than_no_route() {
        let of = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let told = |a, b| telling(of(a), of(b)).raw_os_error();
        assert_eq!(told(Errno::NETUNREACH, Errno::CONNREFUSED), Some(Errno::CONNREFUSED.raw_os_error()));
        assert_eq!(told(Errno::CONNREFUSED, Errno::NETUNREACH), Some(Errno::CONNREFUSED.raw_os_error()));
        assert_eq!(told(Errno::CONNRESET, Errno::NETUNREACH), Some(Errno::CONNRESET.raw_os_error()));
    }
}
