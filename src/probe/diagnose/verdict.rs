//! What the answers to a look come to. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cause::Cause;
use crate::health::Proof;

use super::knock::Heard;
use super::names::Trouble;
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
    /// It answers a fresh `GET /`.
    Runs(Answer),
    /// It takes connections and does not answer a fresh `GET /`.
    Stuck,
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

    /// What shows that it holds no longer. What is slow in an app that runs, or causeway itself, is so although there are answers.
    pub(super) const fn until(&self) -> Option<Proof> {
        match self {
            Self::OwnListener | Self::Runs(_) | Self::Name(_) => None,
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
            | Self::Stuck
            | Self::DropsAll
            | Self::EndsAgain => Some(Proof::Answers),
        }
    }

    /// The same, without what is another each time.
    pub(super) fn timeless(mut self) -> Self {
        match &mut self {
            Self::OtherFamily { answer: Some(answer), .. } | Self::Neighbour { answer, .. } | Self::Runs(answer) => {
                *answer = Answer { status: 0, took: Duration::ZERO };
            }
            _ => {}
        }
        self
    }
}

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
pub(super) fn of_answers(cause: Cause, answers: &Answers) -> Option<Verdict> {
    let Answers { get, hello, preface, unasked } = answers;
    if let Heard::Answered { answer, .. } = get {
        // What did not speak HTTP then and does so now was exchanged in between.
        return (cause != Cause::NotHttp).then_some(Verdict::Runs(*answer));
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
        (Cause::ReadTimeout | Cause::NotHttp, _) => None,
        (_, Heard::Dropped) if all(&Heard::Dropped) => Some(Verdict::DropsAll),
        (_, Heard::Dropped) => Some(Verdict::EndsAgain),
        _ => None,
    }
}

/// What is spoken there in place of HTTP/1: what it says unasked, or to HTTP, says more than what it makes of other protocols.
fn speech(answers: &Answers) -> Option<Speech> {
    let Answers { get, hello, preface, unasked } = answers;
    let said = |heard: &Heard| match heard {
        Heard::Said(speech) => Some(speech.clone()),
        _ => None,
    };
    let is = |heard: &Heard, wanted: &Speech| matches!(heard, Heard::Said(speech) if speech == wanted);
    if is(hello, &Speech::Tls) || is(get, &Speech::Tls) {
        return Some(Speech::Tls);
    }
    if is(preface, &Speech::Http2) || is(get, &Speech::Http2) {
        return Some(Speech::Http2);
    }
    let all = [unasked, get, preface, hello];
    let known = all.into_iter().filter_map(said).find(|speech| matches!(speech, Speech::Known(..)));
    known.or_else(|| said(unasked)).or_else(|| said(get))
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
        use Heard::{Dropped, NotTaken, Nothing, Refused, Said, Silent};
        let http = || Heard::Answered { answer: ANSWER, proxy: false };
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
            (Cause::ConnectReset, [Dropped, Dropped, Dropped, Dropped], Some(Verdict::DropsAll)),
            (Cause::ClosedWithoutResponse, [Dropped, Dropped, Dropped, Silent], Some(Verdict::EndsAgain)),
            (Cause::ClosedWithoutResponse, [Silent, Silent, Silent, Silent], None),
            (Cause::ResetBeforeHead, [Nothing, Nothing, Nothing, Nothing], None),
        ] {
            let [get, hello, preface, unasked] = heard;
            let answers = answers(get, hello, preface, unasked);
            assert_eq!(of_answers(cause, &answers), wanted, "{cause} {answers:?}");
        }
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
