//! What the answers to a look come to. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cause::Cause;
use crate::config::address::Scheme;
use crate::health::Proof;

use super::knock::Heard;
use super::names::Trouble;
use super::plan;
use super::speech::Speech;

/// An HTTP answer to `GET /`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// From the beginning of the connection to the end of the head.
    pub(super) took: Duration,
}

/// What the upstream itself says now.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// To `GET /`.
    pub(super) get: Heard,
    /// To a TLS client.
    pub(super) hello: Heard,
    /// To an HTTP/2 client.
    pub(super) preface: Heard,
    /// To silence.
    pub(super) unasked: Heard,
}

/// What explains the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The address is causeway's own.
    OwnListener,
    /// The same port of the other family is open.
    OtherFamily { at: SocketAddr, answer: Option<Answer> },
    /// An app answers on another port of that host; `speaks`: what is on this one.
    Neighbour { port: u16, answer: Answer, speaks: Option<Speech> },
    /// `localhost` is causeway's own container.
    Contained,
    /// Something else than HTTP/1 is spoken there.
    Speaks(Speech),
    /// Plain HTTP/1.1 is spoken there, and it is told to speak something else.
    Plain(Answer),
    /// It answers a fresh `GET /`.
    Runs(Answer),
    /// It answers one with its own address as Host, and drops one with this Host.
    ByHost { host: String, answer: Answer },
    /// It takes connections and does not answer a fresh `GET /`.
    Stuck,
    /// The head of its answer to a fresh `GET /` does not come to its end.
    Drips,
    /// The head of its answer to a fresh `GET /` is cut off.
    CutAgain,
    /// It drops connections on which nothing was said.
    DropsAll,
    /// A fresh `GET /` ends without an answer, too.
    EndsAgain,
    /// Nothing listens there by now.
    Gone,
    /// It takes no new connection by now.
    TakesNone,
    /// It takes no connection, and it is on this machine.
    ThisMachine,
    /// It takes no connection, but that port of its host takes or refuses one at once.
    HostUp { port: u16, taken: bool },
    /// No other port of its host says anything either.
    HostSilent,
    /// No route leads there.
    NoRoute,
    /// A route does, and nobody is at its end.
    NoHost,
    /// A firewall of this machine forbids it.
    Forbidden,
    /// Something is the matter with its name.
    Name(Trouble),
}

impl Verdict {
    /// What is there is not what was meant: the app may be next to it.
    pub(super) const fn is_wrong_port(&self) -> bool {
        matches!(self, Self::Speaks(_))
    }

    /// What shows that it holds no longer. What is slow in an app that runs, or causeway itself, is so although there
    /// are answers.
    pub(super) const fn until(&self) -> Option<Proof> {
        match self {
            Self::OwnListener | Self::Runs(_) | Self::ByHost { .. } | Self::Name(_) => None,
            Self::Gone
            | Self::TakesNone
            | Self::ThisMachine
            | Self::HostUp { .. }
            | Self::HostSilent
            | Self::NoRoute
            | Self::NoHost
            | Self::Forbidden => Some(Proof::Connects),
            Self::OtherFamily { .. }
            | Self::Neighbour { .. }
            | Self::Contained
            | Self::Speaks(_)
            | Self::Plain(_)
            | Self::Stuck
            | Self::Drips
            | Self::CutAgain
            | Self::DropsAll
            | Self::EndsAgain => Some(Proof::Answers),
        }
    }

    /// The same, without what is another each time.
    pub(super) fn timeless(mut self) -> Self {
        match &mut self {
            Self::OtherFamily { answer: Some(answer), .. }
            | Self::Neighbour { answer, .. }
            | Self::Plain(answer)
            | Self::Runs(answer) => *answer = NO_FIGURES,
            // Nor by the names that clients come up with.
            Self::ByHost { host, answer } => (*host, *answer) = (String::new(), NO_FIGURES),
            _ => {}
        }
        self
    }
}

const NO_FIGURES: Answer = Answer { status: 0, took: Duration::ZERO };

/// The neighbour, with what was found on the port itself.
pub(super) fn with_neighbour(found: Option<Verdict>, next_door: Verdict) -> Verdict {
    match (found, next_door) {
        (Some(Verdict::Speaks(speech)), Verdict::Neighbour { port, answer, .. }) => {
            Verdict::Neighbour { port, answer, speaks: Some(speech) }
        }
        (_, next_door) => next_door,
    }
}

/// What the upstream's own answers say about this failure.
pub(super) fn of_answers(scheme: Scheme, cause: Cause, answers: &Answers) -> Option<Verdict> {
    let Answers { get, hello, preface, unasked } = answers;
    let (tls, h2) = (says(hello, &Speech::Tls), says(preface, &Speech::Http2));
    match (scheme, get) {
        // What it says to those who do not speak as it does says nothing of those who do.
        (Scheme::Https, _) if tls => return None,
        (Scheme::H2c, _) if h2 => return None,
        (Scheme::Http, Heard::Answered(answer)) if plan::may_be_tls(answer.status) && tls => {
            return Some(Verdict::Speaks(Speech::Tls));
        }
        // What did not speak HTTP then and does so now was exchanged in between.
        (Scheme::Http, Heard::Answered(answer)) => return (cause != Cause::NotHttp).then_some(Verdict::Runs(*answer)),
        (Scheme::Https | Scheme::H2c, Heard::Answered(answer)) => return Some(Verdict::Plain(*answer)),
        _ => {}
    }
    if let Some(speech) = speech(answers) {
        // That it is not HTTP is known, and how it begins is told.
        let told = cause == Cause::NotHttp && matches!(speech, Speech::Unknown(_));
        return (!told).then_some(Verdict::Speaks(speech));
    }
    let all = |wanted: &Heard| [get, hello, preface, unasked].into_iter().all(|heard| heard == wanted);
    match (cause, get) {
        (_, Heard::Refused) => Some(Verdict::Gone),
        (_, Heard::NotTaken) if all(&Heard::NotTaken) => Some(Verdict::TakesNone),
        (Cause::ReadTimeout, Heard::Silent) => Some(Verdict::Stuck),
        (Cause::NotHttp, _) => None,
        (_, Heard::Dripped) => Some(Verdict::Drips),
        (_, Heard::Cut) => Some(Verdict::CutAgain),
        (Cause::ReadTimeout, _) => None,
        (_, Heard::Dropped) if all(&Heard::Dropped) => Some(Verdict::DropsAll),
        (_, Heard::Dropped) => Some(Verdict::EndsAgain),
        _ => None,
    }
}

/// What is spoken there in place of HTTP/1: what it says unasked, or to HTTP, says more than what it makes of other
/// protocols.
fn speech(answers: &Answers) -> Option<Speech> {
    let Answers { get, hello, preface, unasked } = answers;
    let said = |heard: &Heard| match heard {
        Heard::Said(speech) => Some(speech.clone()),
        _ => None,
    };
    if says(hello, &Speech::Tls) || says(get, &Speech::Tls) {
        return Some(Speech::Tls);
    }
    if says(preface, &Speech::Http2) || says(get, &Speech::Http2) {
        return Some(Speech::Http2);
    }
    let all = [unasked, get, preface, hello];
    let known = all.into_iter().filter_map(said).find(|speech| matches!(speech, Speech::Known(..)));
    known.or_else(|| said(unasked)).or_else(|| said(get))
}

/// Whether that is what was heard.
pub(super) fn says(heard: &Heard, wanted: &Speech) -> bool {
    matches!(heard, Heard::Said(speech) if speech == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Answer = Answer { status: 200, took: Duration::from_millis(2) };

    fn answers(get: Heard, hello: Heard, preface: Heard, unasked: Heard) -> Answers {
        Answers { get, hello, preface, unasked }
    }

    #[test]
    fn what_answers_mean() {
        use Heard::{Cut, Dripped, Dropped, NotTaken, Nothing, Refused, Said, Silent};
        let http = || Heard::Answered(ANSWER);
        let bad = || Heard::Answered(Answer { status: 400, ..ANSWER });
        let ssh = || Speech::Known("SSH", "SSH-2.0-x".to_owned());
        let odd = || Speech::Unknown("odd".to_owned());
        for (cause, heard, wanted) in [
            (Cause::ReadTimeout, [http(), Nothing, Nothing, Nothing], Some(Verdict::Runs(ANSWER))),
            (Cause::NotHttp, [http(), Nothing, Nothing, Nothing], None),
            (Cause::ReadTimeout, [Silent, Said(Speech::Tls), Silent, Silent], Some(Verdict::Speaks(Speech::Tls))),
            (
                Cause::ClosedWithoutResponse,
                [Dropped, Said(Speech::Tls), Dropped, Silent],
                Some(Verdict::Speaks(Speech::Tls)),
            ),
            (Cause::ReadTimeout, [Silent, Silent, Said(Speech::Http2), Silent], Some(Verdict::Speaks(Speech::Http2))),
            (Cause::NotHttp, [Said(ssh()), Said(ssh()), Said(ssh()), Said(ssh())], Some(Verdict::Speaks(ssh()))),
            (Cause::NotHttp, [Said(odd()), Dropped, Dropped, Silent], None),
            (Cause::ReadTimeout, [Silent, Silent, Silent, Said(odd())], Some(Verdict::Speaks(odd()))),
            (Cause::ReadTimeout, [Silent, Silent, Silent, Silent], Some(Verdict::Stuck)),
            (Cause::ReadTimeout, [NotTaken, NotTaken, NotTaken, NotTaken], Some(Verdict::TakesNone)),
            (Cause::ReadTimeout, [Refused, Refused, Refused, Refused], Some(Verdict::Gone)),
            (Cause::ReadTimeout, [Dropped, Dropped, Dropped, Dropped], None),
            (Cause::ReadTimeout, [Dripped, Silent, Silent, Silent], Some(Verdict::Drips)),
            (Cause::TruncatedHead, [Cut, Dropped, Dropped, Silent], Some(Verdict::CutAgain)),
            (Cause::ReadTimeout, [bad(), Said(Speech::Tls), bad(), Silent], Some(Verdict::Speaks(Speech::Tls))),
            (Cause::ReadTimeout, [bad(), bad(), bad(), Silent], Some(Verdict::Runs(Answer { status: 400, ..ANSWER }))),
            (Cause::ConnectReset, [Dropped, Dropped, Dropped, Dropped], Some(Verdict::DropsAll)),
            (Cause::ClosedWithoutResponse, [Dropped, Dropped, Dropped, Silent], Some(Verdict::EndsAgain)),
            (Cause::ClosedWithoutResponse, [Silent, Silent, Silent, Silent], None),
            (Cause::ResetBeforeHead, [Nothing, Nothing, Nothing, Nothing], None),
        ] {
            let [get, hello, preface, unasked] = heard;
            let answers = answers(get, hello, preface, unasked);
            assert_eq!(of_answers(Scheme::Http, cause, &answers), wanted, "{cause} {answers:?}");
        }
    }

    #[test]
    fn who_shall_speak_another_protocol_is_judged_by_that() {
        use Heard::{Answered, Dropped, Said, Silent};
        let said = |scheme, get: Heard, hello: Heard, preface: Heard| {
            of_answers(scheme, Cause::ReadTimeout, &answers(get, hello, preface, Silent))
        };
        let (tls, h2) = (|| Said(Speech::Tls), || Said(Speech::Http2));
        let bad = Answered(Answer { status: 400, ..ANSWER });
        assert_eq!(said(Scheme::Https, bad, tls(), Dropped), None);
        assert_eq!(said(Scheme::Https, Answered(ANSWER), Dropped, Dropped), Some(Verdict::Plain(ANSWER)));
        assert_eq!(said(Scheme::H2c, Dropped, Dropped, h2()), None);
        assert_eq!(said(Scheme::H2c, Answered(ANSWER), Dropped, Dropped), Some(Verdict::Plain(ANSWER)));
        assert_eq!(said(Scheme::H2c, Dropped, tls(), Dropped), Some(Verdict::Speaks(Speech::Tls)));
        assert_eq!(said(Scheme::Https, Silent, Silent, Silent), Some(Verdict::Stuck));
    }

    #[test]
    fn a_figure_makes_no_other_verdict() {
        let at = |status, took| Verdict::Runs(Answer { status, took: Duration::from_millis(took) });
        assert_eq!(at(200, 1).timeless(), at(404, 2).timeless());
        let speaks = Verdict::Speaks(Speech::Tls);
        let next_door = Verdict::Neighbour { port: 3000, answer: ANSWER, speaks: None };
        let both = with_neighbour(Some(speaks), next_door.clone());
        assert_eq!(both, Verdict::Neighbour { port: 3000, answer: ANSWER, speaks: Some(Speech::Tls) });
        assert_eq!(with_neighbour(None, next_door.clone()), next_door);
    }
}
