//! The rounds of connections of a look: to the upstream itself, along the road to it, to its neighbours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cause::Cause;
use crate::config::address::{Dial, Scheme};
use crate::config::model::Buffers;
use crate::config::{Endpoint, here};
use crate::probe::Seen;
use crate::probe::http::{Clock, PROXY_STATUS, Payload, ask};

use super::knock::{AGENT, Heard, Say, knock};
use super::speech::Speech;
use super::verdict::{Answer, Answers, Verdict, says};
use super::{Around, place, plan};

/// How long the upstream itself may take, from the connection to the first bytes.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// The same for a neighbour: one that is slower is no better guess than none.
const NEIGHBOUR: Duration = Duration::from_millis(700);
/// A host that is up takes or refuses a connection at once.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Who speaks first does so at once.
const GREETING: Duration = Duration::from_millis(300);
/// With an answer there, a likelier neighbour has so much longer.
const GRACE: Duration = Duration::from_millis(50);

/// Does it speak TLS?
pub(super) async fn speaks_tls(addresses: &[SocketAddr]) -> bool {
    says(&knock(addresses.to_vec(), Say::Hello, ANSWER, ANSWER).await, &Speech::Tls)
}

/// `GET /` with this Host is dropped.
pub(super) async fn drops(addresses: &[SocketAddr], host: &str) -> bool {
    knock(addresses.to_vec(), Say::Get(host), AT_ONCE, AT_ONCE).await == Heard::Dropped
}

/// What the upstream says now: to `GET /`, to a TLS and an HTTP/2 client, and unasked. An HTTP answer is enough of one
/// that shall speak HTTP/1.1, unless it may be that of a port of TLS.
pub(super) async fn questions(addresses: &[SocketAddr], Endpoint { authority, scheme, .. }: &Endpoint) -> Answers {
    let say = |say, limit| knock(addresses.to_vec(), say, limit, limit);
    let mut get = std::pin::pin!(say(Say::Get(authority), ANSWER));
    let mut others = std::pin::pin!(async {
        tokio::join!(say(Say::Hello, ANSWER), say(Say::Preface, ANSWER), say(Say::Nothing, GREETING))
    });
    let (get, (hello, preface, unasked)) = tokio::select! {
        biased;
        get = &mut get => match get {
            Heard::Answered(Answer { status, .. }) if *scheme == Scheme::Http && !plan::may_be_tls(status) => (get, (Heard::Nothing, Heard::Nothing, Heard::Nothing)),
            _ => (get, others.await),
        },
        others = &mut others => (get.await, others),
    };
    Answers { get, hello, preface, unasked }
}

/// Is it the host, or the port, or the way?
pub(super) async fn road(target: SocketAddr, cause: Cause, around: Around<'_>) -> Option<Verdict> {
    let connect = |address| knock(vec![address], Say::Nothing, ANSWER, ANSWER);
    if cause == Cause::Unreachable {
        return match connect(target).await {
            Heard::NoWay(io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown) => Some(Verdict::NoRoute),
            Heard::NoWay(io::ErrorKind::HostUnreachable) => Some(Verdict::NoHost),
            Heard::NoWay(io::ErrorKind::PermissionDenied) => Some(Verdict::Forbidden),
            _ => None,
        };
    }
    if here::is_here(target.ip()) {
        return (connect(target).await == Heard::NotTaken).then_some(Verdict::ThisMachine);
    }
    let same_host = around.named.iter().filter(|other| other.ip() == target.ip()).map(SocketAddr::port);
    let mut ports: Vec<u16> = same_host.filter(|port| *port != target.port()).take(2).collect();
    if place::is_near(target.ip()) {
        ports.extend(plan::ports(target.port(), false));
    }
    let mut knocks = JoinSet::new();
    for port in ports {
        let address = SocketAddr::new(target.ip(), port);
        knocks.spawn(async move { (port, knock(vec![address], Say::Nothing, AT_ONCE, AT_ONCE).await) });
    }
    let mut silent = false;
    while let Some(heard) = knocks.join_next().await {
        match heard {
            Ok((port, Heard::Refused)) => return Some(Verdict::HostUp { port, taken: false }),
            Ok((port, Heard::Silent | Heard::Dropped | Heard::Said(_))) => {
                return Some(Verdict::HostUp { port, taken: true });
            }
            Ok((_, Heard::NotTaken)) => silent = true,
            // A limit of our own, or no way there: nothing was learnt of the host.
            _ => {}
        }
    }
    silent.then_some(Verdict::HostSilent)
}

/// The likeliest neighbour that an app answers on: the other family of loopback at the same port, then other ports.
pub(super) async fn neighbours(
    addresses: &[SocketAddr],
    endpoint: &Endpoint,
    cause: Cause,
    around: Around<'_>,
) -> Option<Verdict> {
    let (host, _) = plan::split(&endpoint.authority);
    let &first = addresses.first()?;
    let mut doors: Vec<Door> = Vec::new();
    if let (Cause::ConnectionRefused, [only]) = (cause, addresses)
        && let Some(at) = other_family(*only)
    {
        doors.push(Door { at: vec![at], host: at.to_string(), family: true });
    }
    for port in plan::ports(first.port(), first.ip().is_loopback()) {
        let at = addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
        doors.push(Door { at, host: format!("{host}:{port}"), family: false });
    }
    let named = |door: &Door, at: &SocketAddr| is_named(*at, door.family, around.named);
    doors.retain(|door| !door.at.iter().any(|at| named(door, at) || place::is_own(*at, around.own)));
    Round::begin(doors).likeliest().await
}

/// Whether the config has that for an upstream already. On this machine it may have it under another of its addresses;
/// at the other `family` the same port is the upstream's own.
fn is_named(at: SocketAddr, family: bool, named: &[SocketAddr]) -> bool {
    let alike = |ip: IpAddr| ip == at.ip() || !family && here::is_here(ip) && here::is_here(at.ip());
    named.iter().any(|other| other.port() == at.port() && alike(other.ip()))
}

/// `127.0.0.1:3000` for `[::1]:3000`, and the other way round; other addresses have no such twin.
fn other_family(address: SocketAddr) -> Option<SocketAddr> {
    let other = match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv4Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(SocketAddr::new(other, address.port()))
}

/// A neighbour.
struct Door {
    at: Vec<SocketAddr>,
    /// For the Host field.
    host: String,
    /// The same port of the other family.
    family: bool,
}

/// All neighbours, asked at once.
struct Round {
    asked: JoinSet<(usize, Option<Verdict>)>,
    /// What each says, in order of likelihood; `None`: not yet.
    said: Vec<Option<Option<Verdict>>>,
}

impl Round {
    fn begin(doors: Vec<Door>) -> Self {
        let said = doors.iter().map(|_| None).collect();
        let mut asked = JoinSet::new();
        for (index, door) in doors.into_iter().enumerate() {
            asked.spawn(async move { (index, door.ask().await) });
        }
        Self { asked, said }
    }

    /// The first of them that answers, as soon as that is certain, or likely enough.
    async fn likeliest(mut self) -> Option<Verdict> {
        let mut end = Instant::now() + NEIGHBOUR;
        let mut any = false;
        loop {
            tokio::select! {
                biased;
                heard = self.asked.join_next() => match heard {
                    Some(Ok((index, verdict))) => {
                        if verdict.is_some() && !any {
                            (any, end) = (true, end.min(Instant::now() + GRACE));
                        }
                        self.said[index] = Some(verdict);
                    }
                    Some(Err(_)) => {}
                    None => end = Instant::now(),
                },
                () = sleep_until(end) => {}
            }
            let decided = self.said.iter().find(|said| !matches!(said, Some(None)));
            match decided {
                None => return None,
                Some(Some(Some(_))) => break,
                Some(_) if Instant::now() >= end => break,
                Some(_) => {}
            }
        }
        self.said.into_iter().flatten().flatten().next()
    }
}

impl Door {
    /// The answer is read as those of upstreams are: what causeway would not take is no answer.
    async fn ask(self) -> Option<Verdict> {
        let Self { at, host, family } = self;
        let (first, clock, started) = (*at.first()?, Clock::start(NEIGHBOUR), Instant::now());
        let request = Request::get("/").header(HOST, &host).header(USER_AGENT, AGENT).header(ACCEPT, "*/*");
        let request = request.header(CONNECTION, "close").body(Payload::Nothing).ok()?;
        let endpoint = Arc::new(Endpoint::new(host.into(), Dial::Addresses(at)));
        let open = |answer| family.then_some(Verdict::OtherFamily { at: first, answer });
        match ask(&endpoint, request, clock, &Buffers::default(), &mut Seen::default()).await {
            Ok(response) => {
                let answer = Answer { status: response.status().as_u16(), took: started.elapsed() };
                // A proxy that says what came of it has no app, or is one on the way to it.
                let apps = is_an_apps(answer) && !response.headers().contains_key(PROXY_STATUS);
                let next_door = Verdict::Neighbour { port: first.port(), answer, speaks: None };
                apps.then(|| open(Some(answer)).unwrap_or(next_door))
            }
            // It listens, and says nothing to the end, or another thing.
            Err(failure) => match failure.cause {
                Cause::ReadTimeout | Cause::NotHttp | Cause::SpeaksTls | Cause::SpeaksH2 => open(None),
                _ => None,
            },
        }
    }
}

/// Would requests be at home there? A port of TLS answers 400 to plain HTTP, and a proxy without an app 502 to 504.
fn is_an_apps(answer: Answer) -> bool {
    (200..500).contains(&answer.status) && answer.status != 400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_this_machine_a_port_is_one_port() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        let named = [at("127.0.0.1:3000"), at("10.0.0.5:3000")];
        for (address, family, wanted) in [
            ("127.0.0.1:3000", false, true),
            ("[::1]:3000", false, true),
            ("127.0.0.2:3000", false, true),
            ("127.0.0.1:3001", false, false),
            ("10.0.0.5:3000", false, true),
            ("10.0.0.6:3000", false, false),
            ("[::1]:3000", true, false),
            ("127.0.0.1:3000", true, true),
        ] {
            assert_eq!(is_named(at(address), family, &named), wanted, "{address} {family}");
        }
    }

    /// No connection goes out to a broadcast address.
    #[tokio::test]
    async fn what_cannot_be_asked_is_not_silent() {
        let at = |port| SocketAddr::new(Ipv4Addr::BROADCAST.into(), port);
        let around = Around { named: &[at(81)], ..Around::default() };
        assert_eq!(road(at(80), Cause::ConnectTimeout, around).await, None);
        assert_eq!(road(at(80), Cause::ConnectTimeout, Around::default()).await, None);
    }
}
