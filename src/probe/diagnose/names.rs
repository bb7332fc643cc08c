//! Why a name has no address: what is certain about it, and whether the name servers answer at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cause::Cause;

use super::place;

/// How long a name server may take for a question that it can answer by itself.
const ANSWER: Duration = Duration::from_secs(1);
/// resolv.conf(5): further ones are not asked by anybody.
const SERVERS: usize = 3;

/// What is the matter with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The file names nobody to ask.
    NoServer,
    /// None of these answers anything.
    Deaf(Vec<SocketAddr>, NamedBy),
    /// This one answers other questions.
    Others(SocketAddr, NamedBy),
    /// This one gives an error for everything.
    Sick(SocketAddr, NamedBy),
    /// A dot at its end keeps the search domains away from it.
    FinalDot,
    /// It is one of multicast DNS.
    Multicast,
    /// It is Docker's name for its host.
    DockerHost,
    /// It may be a service's, and causeway is in a container.
    Service,
    /// It may be a service's, and causeway is in none.
    ServiceFromOutside,
}

/// Who named the name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// `/etc/resolv.conf`.
    System,
    /// `name_servers`.
    Config,
}

/// What explains this failure of the host's name; `said`: `name_servers`.
pub(super) async fn look(host: &str, cause: Cause, said: &[SocketAddr]) -> Option<super::Verdict> {
    let trouble = if cause == Cause::DnsNotFound {
        not_found(host, place::is_contained().await)
    } else if !said.is_empty() {
        of_servers(said, cause, NamedBy::Config).await
    } else {
        let read = tokio::task::spawn_blocking(|| std::fs::read_to_string("/etc/resolv.conf"));
        let file = read.await.ok().and_then(Result::ok).unwrap_or_default();
        let servers: Vec<_> = servers(&file).into_iter().map(|ip| SocketAddr::new(ip, 53)).collect();
        of_servers(&servers, cause, NamedBy::System).await
    };
    trouble.map(super::Verdict::Name)
}

/// What the name itself says.
fn not_found(host: &str, contained: bool) -> Option<Trouble> {
    let bare = host.trim_end_matches('.');
    match bare {
        "host.docker.internal" => Some(Trouble::DockerHost),
        _ if bare.ends_with(".local") => Some(Trouble::Multicast),
        _ if bare.contains('.') => None,
        _ if bare != host => Some(Trouble::FinalDot),
        _ if contained => Some(Trouble::Service),
        _ => Some(Trouble::ServiceFromOutside),
    }
}

/// The name servers of a resolv.conf.
fn servers(file: &str) -> Vec<IpAddr> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.parse().ok();
    file.lines().filter_map(server).take(SERVERS).collect()
}

/// Whether they answer anything, for a name that got no answer or an error.
async fn of_servers(servers: &[SocketAddr], cause: Cause, by: NamedBy) -> Option<Trouble> {
    if servers.is_empty() {
        return Some(Trouble::NoServer);
    }
    let mut asked = JoinSet::new();
    for &server in servers {
        asked.spawn(async move { (server, timeout(ANSWER, ask(server)).await.ok().flatten()) });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer);
    }
    let answered = answers.iter().find_map(|(at, code)| code.map(|code| (*at, code)));
    match answered {
        None => Some(Trouble::Deaf(servers.to_vec(), by)),
        Some((at, _)) if cause == Cause::DnsTimeout => Some(Trouble::Others(at, by)),
        Some((at, code)) if code != 0 => Some(Trouble::Sick(at, by)),
        Some(_) => None,
    }
}

/// The response code (RFC 1035 §4.1.1) of this name server to the question who serves the root.
async fn ask(server: SocketAddr) -> Option<u8> {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    let [a, b] = fastrand::u16(..).to_be_bytes();
    let question = [a, b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    socket.send(&question).await.ok()?;
    let mut answer = [0; 512];
    loop {
        // An error: nothing listens there, and the host has said so.
        let length = socket.recv(&mut answer).await.ok()?;
        if length >= 12 && answer[..2] == [a, b] && answer[2] & 0x80 != 0 {
            return Some(answer[3] & 0x0f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_it_itself() {
        for (host, contained, wanted) in [
            ("app", true, Some(Trouble::Service)),
            ("app", false, Some(Trouble::ServiceFromOutside)),
            ("app.", true, Some(Trouble::FinalDot)),
            ("printer.local", false, Some(Trouble::Multicast)),
            ("host.docker.internal", true, Some(Trouble::DockerHost)),
            ("api.example.com", true, None),
        ] {
            assert_eq!(not_found(host, contained), wanted, "{host}");
        }
    }

    #[test]
    fn the_name_servers_of_the_file() {
        let file = "# nameserver 10.0.0.1\nsearch a.b\nnameserver 10.0.0.2\n nameserver\tfd00::1\nnameserver x\n";
        assert_eq!(servers(file), ["10.0.0.2".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(servers(&"nameserver 10.0.0.2\n".repeat(9)).len(), SERVERS);
    }

    /// Answers every question with this code.
    async fn server(code: u8) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut question).await {
                socket.send_to(b"\0\0 not an answer", peer).await.unwrap();
                (question[2], question[3]) = (0x81, 0x80 | code);
                socket.send_to(&question[..length], peer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn name_servers_that_answer_are_told_from_those_that_do_not() {
        let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (mute, well, sick) = (mute.local_addr().unwrap(), server(0).await, server(2).await);
        assert_eq!(of_servers(&[], Cause::DnsTimeout, NamedBy::System).await, Some(Trouble::NoServer));
        assert_eq!(
            of_servers(&[mute], Cause::DnsTimeout, NamedBy::System).await,
            Some(Trouble::Deaf(vec![mute], NamedBy::System))
        );
        assert_eq!(
            of_servers(&[mute, well], Cause::DnsTimeout, NamedBy::Config).await,
            Some(Trouble::Others(well, NamedBy::Config))
        );
        assert_eq!(
            of_servers(&[sick], Cause::DnsFailure, NamedBy::Config).await,
            Some(Trouble::Sick(sick, NamedBy::Config))
        );
        assert_eq!(of_servers(&[well], Cause::DnsFailure, NamedBy::System).await, None);
    }
}
