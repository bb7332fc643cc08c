//! How a verdict is said: behind the first sentence about the failure, and in place of what that goes on to ask. Pure.

use std::net::SocketAddr;

use crate::cause::{Cause, Finding, bare, spoken};
use crate::pool::insight::Asker;

use super::names::{NamedBy, Trouble};
use super::plan;
use super::speech::Speech;
use super::verdict::{Answer, Verdict};

/// The finding about this failure, met by this one, of the upstream at this authority.
pub(super) fn finding(asker: Asker, cause: Cause, authority: &str, verdict: &Verdict) -> Finding {
    let (host, port) = plan::split(authority);
    // As it is written with another scheme, or with none.
    let place = bare(authority);
    let said = |sentence: String| Finding::new(cause, sentence);
    let upstreams = |address: &str| format!("upstreams = [\"{address}\"]");
    match verdict {
        Verdict::OwnListener => {
            said(format!("{authority} is causeway's own address: write the app's address in its place."))
                .command("causeway check")
        }
        Verdict::OtherFamily { at, answer } => {
            let both = format!("localhost:{port}");
            let (answers, family) = (takes(*answer), if at.is_ipv6() { "IPv6" } else { "IPv4" });
            said(format!("But {at} {answers}: the app listens on {family} alone. {both} is tried on both."))
                .write(upstreams(&both))
                .command(format!("causeway probe {both}"))
        }
        Verdict::Neighbour { port, answer, speaks } => {
            let address = format!("{host}:{port}");
            if let Some(speech) = cured(cause, speaks.as_ref()) {
                let mut cure = finding(asker, cause, authority, &Verdict::Speaks(speech));
                let next_door = answers(*answer).replace("HTTP", "plain HTTP");
                cure.sentence.push_str(&format!(" Or did you mean {port}? {address} {next_door}."));
                return cure;
            }
            let but = match speaks {
                Some(speech) => format!("{}, but", is(cause, speech)),
                None => "But".to_owned(),
            };
            said(format!("{but} {address} {}. Did you mean {port}?", answers(*answer)))
                .write(upstreams(&address))
                .command(format!("causeway probe {address}"))
        }
        Verdict::Contained => said(format!(
            "causeway runs in a container: an app in another one goes by its service's name, as in app:{port}."
        ))
        .besides(),
        Verdict::Speaks(speech) => {
            let (is, known) = (is(cause, speech), matches!(cause, Cause::SpeaksTls | Cause::SpeaksH2));
            // What the failure itself says is not said again.
            let (lead, write) = if known { (String::new(), "Write") } else { (format!("{is} on this port: "), "write") };
            let cure = |address: String| {
                said(format!("{lead}{write} \"{address}\" in upstreams.")).write(upstreams(&address))
            };
            match speech {
                Speech::Tls => cure(format!("https://{place}")).command(format!("curl -ik https://{place}/")),
                Speech::Http2 => cure(format!("h2c://{place}"))
                    .command(format!("curl -i --http2-prior-knowledge http://{place}/")),
                _ => said(format!("{is}: this is not the app's port.")),
            }
        }
        Verdict::Plain(answer) => said(format!(
            "It {} on this port, without TLS and HTTP/2: write \"{place}\" in upstreams.",
            answers(*answer).replace("HTTP", "HTTP/1.1")
        ))
        .write(upstreams(place))
        .command(format!("causeway probe {place}")),
        Verdict::ByHost { host: name, answer: Answer { status, took } } => said(format!(
            "But a new GET / gives {status} in {} with its own address as Host, and ends the same way with Host {name}: it is \
             the Host that it does not take. Let the app take that name, or set host_header = \"upstream\" in its pool.",
            spoken(*took)
        ))
        .write("host_header = \"upstream\"")
        .command(format!("curl -i -H \"Host: {name}\" http://{authority}/")),
        Verdict::Runs(Answer { status, took }) => {
            let took = spoken(*took);
            let this = match asker {
                Asker::Traffic | Asker::Probe(_) => "this request",
                Asker::Check | Asker::GrpcCheck => "this check",
            };
            let runs = format!("But a new GET / gives {status} in {took}: the app runs, and {this}");
            let raise = match asker {
                Asker::Traffic => "timeouts.read for its route",
                Asker::Check | Asker::GrpcCheck => "health.timeout",
                Asker::Probe(limit) => limit,
            };
            said(match cause {
                Cause::ReadTimeout => format!("{runs} is slow or stuck in it. If it has to be slow, raise {raise}."),
                _ => format!("{runs}, or this moment, made it break off. Its own log should say why."),
            })
        }
        _ => said(plain(verdict, host, port)),
    }
}

/// What is spoken on a port that can be used as it is: what answers next to it may be another app.
fn cured(cause: Cause, speaks: Option<&Speech>) -> Option<Speech> {
    match (cause, speaks) {
        (Cause::SpeaksTls, None) => Some(Speech::Tls),
        (Cause::SpeaksH2, None) => Some(Speech::Http2),
        (_, speaks) => speaks.filter(|speech| matches!(speech, Speech::Tls | Speech::Http2)).cloned(),
    }
}

/// Those that need no figures.
fn plain(verdict: &Verdict, host: &str, port: &str) -> String {
    match verdict {
        Verdict::Stuck => {
            "It takes a new connection, but does not answer GET / within 1 s either: the app is stuck, or waits for \
                           something itself."
                .to_owned()
        }
        Verdict::Drips => {
            "It begins to answer a new GET /, but the head is not whole within 1 s: the app is stuck in the midst of it, or \
                           sends it in small pieces."
                .to_owned()
        }
        Verdict::CutAgain => {
            "The head of its answer to a new GET / is cut off, too. The app's own log should say why.".to_owned()
        }
        Verdict::DropsAll => {
            "It drops every connection at once, before anything is asked. A published container port does so while \
                              nothing listens on it inside: does the app listen there, and on 0.0.0.0?"
                .to_owned()
        }
        Verdict::EndsAgain => "A new GET / ends the same way. The app's own log should say why.".to_owned(),
        Verdict::Gone => {
            "By now nothing listens there: the app has crashed or was stopped. Its own log should say.".to_owned()
        }
        Verdict::TakesNone => {
            "By now it takes no new connection either: the app is stuck, and its queue of connections is full."
                .to_owned()
        }
        Verdict::ThisMachine => {
            "That is this machine, so its host is up: the app is stuck and its queue of connections full, or a local \
                                 firewall drops this port."
                .to_owned()
        }
        Verdict::HostUp { port: other, taken } => {
            let does = if *taken { "takes connections" } else { "refuses connections" };
            format!(
                "But its host is up: port {other} there {does} at once. So a firewall drops port {port}, or the app is stuck and its \
                 queue of connections full."
            )
        }
        Verdict::HostSilent => {
            "Other ports of that host are as silent: is it up, and does a firewall let causeway in?".to_owned()
        }
        Verdict::NoRoute => "This machine has no route there: is causeway attached to that network?".to_owned(),
        Verdict::NoHost => {
            "A route leads there, but nobody has that address: is the host up, and the address right?".to_owned()
        }
        Verdict::Forbidden => "A firewall rule of this machine forbids it.".to_owned(),
        Verdict::Name(trouble) => named(trouble, host, port),
        _ => String::new(),
    }
}

fn server(at: &SocketAddr) -> String {
    if at.port() == 53 { at.ip().to_string() } else { at.to_string() }
}

const fn from(by: NamedBy) -> &'static str {
    match by {
        NamedBy::System => "from /etc/resolv.conf",
        NamedBy::Config => "from name_servers",
    }
}

fn named(trouble: &Trouble, host: &str, port: &str) -> String {
    match trouble {
        Trouble::NoServer => "/etc/resolv.conf names no name server.".to_owned(),
        Trouble::Deaf(servers, by) => {
            let list = servers.iter().map(server).collect::<Vec<_>>().join(", ");
            format!(
                "It answers no other question either: {list} ({}). Is it up, and does a firewall let causeway ask?",
                from(*by)
            )
        }
        Trouble::Others(at, by) => {
            let (at, from) = (server(at), from(*by));
            format!("{at} ({from}) answers other questions, so the name server of that domain is silent.")
        }
        Trouble::Sick(at, by) => {
            let (at, from) = (server(at), from(*by));
            format!("{at} ({from}) gives an error for any name. Has it a way to the others, and may causeway ask it?")
        }
        Trouble::FinalDot => {
            format!("The dot at its end keeps search domains away from it. Try {}:{port}.", host.trim_end_matches('.'))
        }
        Trouble::Multicast => {
            "Names in .local are found by multicast, and causeway asks name servers only: write its address, or a \
                               line in /etc/hosts."
                .to_owned()
        }
        Trouble::DockerHost => {
            "On Linux, Docker knows it only with extra_hosts: \"host.docker.internal:host-gateway\".".to_owned()
        }
        Trouble::Service => format!(
            "As the name of a service it is known only to containers on one network with it: are both on one, and does {host} run?"
        ),
        Trouble::ServiceFromOutside => format!(
            "As the name of a service it is known only inside its container network, where causeway is not: publish its port and \
             write 127.0.0.1:{port}."
        ),
    }
}

/// What is spoken there, as a clause; how it begins is part of the failure where that is `not_http`.
fn is(cause: Cause, speech: &Speech) -> String {
    match speech {
        Speech::Http(_) => "It speaks HTTP".to_owned(),
        Speech::Tls => "It speaks TLS".to_owned(),
        Speech::Http2 => "It speaks HTTP/2 alone".to_owned(),
        Speech::Known(name, _) if cause == Cause::NotHttp => format!("It speaks {name}"),
        Speech::Known(name, told) => format!("It speaks {name} ({told})"),
        Speech::Unknown(told) => format!("It does not speak HTTP ({told})"),
    }
}

fn takes(answer: Option<Answer>) -> String {
    answer.map_or_else(|| "takes connections".to_owned(), answers)
}

fn answers(Answer { status, took }: Answer) -> String {
    format!("answers HTTP ({status}, {})", spoken(took))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ANSWER: Answer = Answer { status: 200, took: Duration::from_micros(1800) };

    fn every() -> Vec<Verdict> {
        let speeches = || {
            [
                Speech::Tls,
                Speech::Http2,
                Speech::Known("SSH", "SSH-2.0-x".to_owned()),
                Speech::Unknown("\\x00".to_owned()),
            ]
        };
        let at = "[::1]:3001".parse().unwrap();
        let server = SocketAddr::from(([10, 0, 0, 2], 53));
        let troubles = [
            Trouble::NoServer,
            Trouble::Deaf(vec![server, server], NamedBy::System),
            Trouble::Others(server, NamedBy::Config),
            Trouble::Sick(server, NamedBy::System),
            Trouble::FinalDot,
            Trouble::Multicast,
            Trouble::DockerHost,
            Trouble::Service,
            Trouble::ServiceFromOutside,
        ];
        let mut all = vec![
            Verdict::OwnListener,
            Verdict::OtherFamily { at, answer: Some(ANSWER) },
            Verdict::OtherFamily { at, answer: None },
            Verdict::Neighbour { port: 3000, answer: ANSWER, speaks: None },
            Verdict::Contained,
            Verdict::Plain(ANSWER),
            Verdict::Runs(ANSWER),
            Verdict::ByHost { host: "shop.example".to_owned(), answer: ANSWER },
            Verdict::Stuck,
            Verdict::Drips,
            Verdict::CutAgain,
            Verdict::DropsAll,
            Verdict::EndsAgain,
            Verdict::Gone,
            Verdict::TakesNone,
            Verdict::ThisMachine,
            Verdict::HostUp { port: 80, taken: true },
            Verdict::HostUp { port: 80, taken: false },
            Verdict::HostSilent,
            Verdict::NoRoute,
            Verdict::NoHost,
            Verdict::Forbidden,
        ];
        all.extend(speeches().into_iter().map(Verdict::Speaks));
        all.extend(speeches().into_iter().map(|speech| Verdict::Neighbour {
            port: 3000,
            answer: ANSWER,
            speaks: Some(speech),
        }));
        all.extend(troubles.into_iter().map(Verdict::Name));
        all
    }

    #[test]
    fn every_verdict_is_whole_sentences_in_plain_words() {
        for verdict in every() {
            for cause in
                [Cause::ConnectionRefused, Cause::ReadTimeout, Cause::NotHttp, Cause::SpeaksTls, Cause::SpeaksH2]
            {
                let said = finding(Asker::Check, cause, "app:3001", &verdict).sentence;
                assert!(said.ends_with(['.', '?']) && said.chars().all(|c| (' '..='~').contains(&c)), "{said}");
                assert!(!said.contains("  ") && !said.contains('!') && !said.contains(".."), "{said}");
                assert!(
                    said.starts_with(|c: char| c.is_ascii_uppercase()) || said.starts_with(['c', 'a', '/', '1']),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn who_has_no_patience_is_told_which_limit_is_his() {
        let said = |asker| finding(asker, Cause::ReadTimeout, "app:3001", &Verdict::Runs(ANSWER)).sentence;
        for (asker, end) in [
            (
                Asker::Traffic,
                "this request is slow or stuck in it. If it has to be slow, raise timeouts.read for its route.",
            ),
            (Asker::Check, "this check is slow or stuck in it. If it has to be slow, raise health.timeout."),
            (Asker::Probe("--timeout"), "this request is slow or stuck in it. If it has to be slow, raise --timeout."),
        ] {
            assert_eq!(said(asker), format!("But a new GET / gives 200 in 1.8 ms: the app runs, and {end}"));
        }
    }

    #[test]
    fn another_port_is_a_question_with_a_line_to_write() {
        let next_door = Verdict::Neighbour { port: 3000, answer: ANSWER, speaks: None };
        let said = finding(Asker::Traffic, Cause::ConnectionRefused, "127.0.0.1:3001", &next_door);
        assert_eq!(said.sentence, "But 127.0.0.1:3000 answers HTTP (200, 1.8 ms). Did you mean 3000?");
        assert_eq!(said.write.as_deref(), Some("upstreams = [\"127.0.0.1:3000\"]"));
        assert_eq!(said.command.as_deref(), Some("causeway probe 127.0.0.1:3000"));
        let ssh = Speech::Known("SSH", "SSH-2.0-x".to_owned());
        let both = Verdict::Neighbour { port: 3000, answer: ANSWER, speaks: Some(ssh) };
        let said = finding(Asker::Traffic, Cause::ReadTimeout, "[::1]:3443", &both).sentence;
        assert_eq!(said, "It speaks SSH (SSH-2.0-x), but [::1]:3000 answers HTTP (200, 1.8 ms). Did you mean 3000?");
    }

    #[test]
    fn a_port_with_a_cure_of_its_own_keeps_it_whatever_is_next_door() {
        let next_door = |speaks| Verdict::Neighbour { port: 3000, answer: ANSWER, speaks };
        let or = "Or did you mean 3000? app:3000 answers plain HTTP (200, 1.8 ms).";
        for (cause, speaks, scheme, lead) in [
            (Cause::SpeaksTls, Some(Speech::Tls), "https", "Write"),
            (Cause::SpeaksH2, None, "h2c", "Write"),
            (Cause::HealthStatus, Some(Speech::Tls), "https", "It speaks TLS on this port: write"),
            (Cause::NotHttp, Some(Speech::Http2), "h2c", "It speaks HTTP/2 alone on this port: write"),
        ] {
            let said = finding(Asker::Traffic, cause, "app:3443", &next_door(speaks));
            assert_eq!(said.sentence, format!("{lead} \"{scheme}://app:3443\" in upstreams. {or}"));
            assert_eq!(said.write, Some(format!("upstreams = [\"{scheme}://app:3443\"]")));
        }
    }

    #[test]
    fn another_scheme_takes_the_place_of_the_one_there_was() {
        let said =
            |authority: &str, verdict: &Verdict| finding(Asker::Traffic, Cause::ConnectReset, authority, verdict);
        let tls = said("h2c://app:3443", &Verdict::Speaks(Speech::Tls));
        assert_eq!(tls.write.as_deref(), Some("upstreams = [\"https://app:3443\"]"));
        assert!(
            !tls.sentence.contains("h2c") && tls.command.as_deref() == Some("curl -ik https://app:3443/"),
            "{tls:?}"
        );
        for authority in ["h2c://app:3000", "https://app:3000"] {
            let plain = said(authority, &Verdict::Plain(ANSWER));
            assert_eq!(plain.write.as_deref(), Some("upstreams = [\"app:3000\"]"));
            assert_eq!(plain.command.as_deref(), Some("causeway probe app:3000"));
        }
    }
}
