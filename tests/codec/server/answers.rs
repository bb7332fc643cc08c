//! What a handler answers, as both servers write it: to a reader that forgives nothing it is the same message, or
//! differs in a listed way.

use std::collections::HashSet;

use super::compare::reply::{Framing, Reply, read};
use super::compare::stage::Said;
use super::compare::subject::Subject;
use super::compare::{Case, End, Fields, Observed, Reads, one_thread, oracle};

/// What the body says of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// All of it.
    Known,
    /// Nothing, but a field does.
    Field,
    /// Nothing.
    Unknown,
}

/// A way in which an answer may differ from hyper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Listed {
    /// A 304 says how long the body is that it stands for (RFC 9110 §8.6). hyper takes that out.
    LengthOf304,
    /// Trailers go to whoever says that they are welcome, announced or not (RFC 9110 §6.5). hyper sends what a Trailer
    /// field announces, to everybody.
    Trailers,
    /// hyper says a length in a 204 (RFC 9110 §8.6 forbids it).
    LengthOf204,
    /// hyper says to a client of 1.0 that the connection is kept, and ends the body by its end.
    EndlessIn10,
}

impl Listed {
    const ALL: [Self; 4] = [Self::LengthOf304, Self::Trailers, Self::LengthOf204, Self::EndlessIn10];
}

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn said(status: u16, pieces: &[&'static str], length: Length) -> Said {
    let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut fields = vec![("x-a", "b"), ("set-cookie", "c=1"), ("set-cookie", "d=2"), ("server", "e")];
    if length == Length::Field {
        let digits: &'static str =
            ["0", "5", "10"].into_iter().find(|text| *text == whole.to_string()).expect("its length");
        fields.push(("content-length", digits));
    }
    let length = (length == Length::Known).then_some(whole as u64);
    Said { status, fields, pieces: pieces.to_vec(), trailers: vec![], length, breaks: false }
}

/// The first answer, whether the request behind it was taken, and the bytes behind the answer.
fn first(observed: &Observed, to_head: bool) -> Result<(Reply, bool), String> {
    let (reply, rest) = read(&observed.written, to_head)?;
    let kept = observed.requests.len() == 2;
    let behind = kept != rest.is_empty() || reply.framing == Framing::UntilClose;
    if kept && reply.closes {
        return Err("a request is taken behind an answer that closes".into());
    }
    if !kept && !reply.closes && !reply.cut && reply.status != 101 {
        return Err("the connection ended, and it was not said".into());
    }
    if observed.end == End::Open || !behind {
        return Err(format!("behind the answer: {}, {:?}", rest.escape_ascii(), observed.end));
    }
    Ok((reply, kept))
}

/// What is left of the fields when those of the connection are not looked at.
fn plain(fields: &Fields) -> Fields {
    let own = ["connection", "transfer-encoding", "content-length", "trailer"];
    let mut plain = fields.clone();
    plain.retain(|(name, _)| !own.contains(&name.as_str()));
    plain.sort();
    plain
}

/// Holds an answer against what was to be said.
fn is_said((reply, _): &(Reply, bool), said: &Said) -> Result<(), String> {
    let body = if reply.framing == Framing::Bodiless { String::new() } else { said.pieces.concat() };
    let fields = said.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    if reply.status != said.status || reply.body != body || reply.cut || plain(&reply.fields) != plain(&fields) {
        return Err("not what was said".into());
    }
    let closes = said.fields.contains(&("connection", "close"));
    if closes && !reply.closes { Err("the handler closes".into()) } else { Ok(()) }
}

/// Holds it against hyper's.
fn judge(ours: &(Reply, bool), theirs: &(Reply, bool), welcome: bool) -> Result<Vec<Listed>, String> {
    let mut listed = Vec::new();
    let ((ours, kept), (theirs, keeps)) = (ours, theirs);
    if (ours.http10, ours.status, &ours.body, ours.cut) != (theirs.http10, theirs.status, &theirs.body, theirs.cut) {
        return Err("another answer".into());
    }
    match (kept, keeps) {
        (true, false) => return Err("keeps, and hyper does not".into()),
        (false, true) => return Err("closes, and hyper does not".into()),
        (true, true) | (false, false) => {}
    }
    if ours.trailers != theirs.trailers {
        if ours.trailers.is_empty() == welcome {
            return Err("other trailers".into());
        }
        listed.push(Listed::Trailers);
    }
    if ours.framing != theirs.framing {
        return Err("another framing".into());
    }
    if ours.values("content-length") != theirs.values("content-length") {
        if ours.status != 304 {
            return Err("another length".into());
        }
        listed.push(Listed::LengthOf304);
    }
    Ok(listed)
}

/// All requests that an answer depends on, and whether trailers are welcome to them.
fn requests() -> Vec<(Vec<u8>, bool, bool)> {
    let mut requests = Vec::new();
    for method in ["GET", "HEAD"] {
        for version in ["1.1", "1.0"] {
            for connection in ["", "Connection: close\r\n", "Connection: keep-alive\r\n"] {
                for te in ["", "TE: trailers\r\n"] {
                    let head = format!("{method} / HTTP/{version}\r\nHost: a\r\n{connection}{te}\r\n");
                    requests.push((head.into_bytes(), method == "HEAD", !te.is_empty()));
                }
            }
        }
    }
    requests
}

fn answers() -> Vec<Said> {
    let mut answers = Vec::new();
    for status in [200, 204, 304, 599] {
        for pieces in [&[][..], &["hello"], &["hello", "world"], &["", "hello", ""]] {
            for length in [Length::Known, Length::Field, Length::Unknown] {
                let whole = said(status, pieces, length);
                let closing =
                    Said { fields: [&whole.fields[..], &[("connection", "close")]].concat(), ..whole.clone() };
                let trailers = vec![("x-sum", "42"), ("x-sum", "43")];
                if length == Length::Unknown {
                    let announced = [&whole.fields[..], &[("trailer", "x-sum")]].concat();
                    answers.push(Said { trailers: trailers.clone(), ..whole.clone() });
                    answers.push(Said { trailers, fields: announced, ..whole.clone() });
                }
                answers.extend([whole, closing]);
            }
        }
    }
    answers
}

/// The names of the differences between both servers' answers to this request.
async fn answer(subject: &Subject, case: &Case<'_>, to: (bool, bool), said: &Said) -> Result<Vec<Listed>, String> {
    let (to_head, welcome) = to;
    let ours = subject.answering(case, Some(said.clone())).await;
    let theirs = oracle::answering(case, Some(said.clone())).await;
    let judged = first(&ours, to_head).and_then(|ours| {
        is_said(&ours, said)?;
        match first(&theirs, to_head) {
            Ok(theirs) => judge(&ours, &theirs, welcome),
            Err(_) if said.status == 204 => Ok(vec![Listed::LengthOf204]),
            Err(_) if ours.0.http10 && ours.0.framing == Framing::UntilClose => Ok(vec![Listed::EndlessIn10]),
            Err(words) => Err(format!("hyper: {words}")),
        }
    });
    judged.map_err(|words| {
        let (stream, theirs, ours) =
            (case.stream.escape_ascii(), theirs.written.escape_ascii(), ours.written.escape_ascii());
        format!("{words}: {said:?}\n  to \"{stream}\"\n  hyper: {theirs}\n  codec: {ours}")
    })
}

#[test]
fn every_answer_is_the_message_that_hyper_writes() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let (mut wrong, mut used) = (Vec::new(), HashSet::new());
        for (request, to_head, welcome) in requests() {
            let stream = [&request[..], NEXT].concat();
            let case = Case { stream: &stream, cuts: &[], reads: Reads::Whole, hurries: false };
            for said in answers() {
                match answer(&subject, &case, (to_head, welcome), &said).await {
                    Ok(listed) => used.extend(listed),
                    Err(words) => wrong.push(words),
                }
            }
        }
        assert!(wrong.is_empty(), "{} in all, of them:\n{}", wrong.len(), wrong[..wrong.len().min(9)].join("\n"));
        let dead: Vec<_> = Listed::ALL.into_iter().filter(|listed| !used.contains(listed)).collect();
        assert!(dead.is_empty(), "no answer needs these: {dead:?}");
    });
}

/// A body that breaks off, or is not as long as was said: what came of it, and the end of the connection.
#[test]
fn an_answer_that_breaks_is_seen_to_break() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let stream = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NEXT].concat();
        let case = Case { stream: &stream, cuts: &[], reads: Reads::Whole, hurries: false };
        let of = |length| Said { length, ..said(200, &["hello", "world"], Length::Unknown) };
        for (said, came) in [
            (Said { breaks: true, ..of(None) }, "helloworld"),
            (Said { breaks: true, ..of(Some(20)) }, "helloworld"),
            (of(Some(11)), "helloworld"),
            (of(Some(9)), "hello"),
        ] {
            let seen = subject.answering(&case, Some(said.clone())).await;
            let (reply, rest) = read(&seen.written, false).unwrap();
            assert!(reply.cut && rest.is_empty() && reply.body == came, "{said:?}: {}", seen.written.escape_ascii());
            assert!(seen.requests.len() == 1 && seen.end == End::Closed, "{said:?}: {seen:?}");
        }
    });
}

/// More than the socket takes at once, and pieces that are not copied.
#[test]
fn a_large_answer_comes_whole() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let stream = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NEXT].concat();
        let case = Case { stream: &stream, cuts: &[], reads: Reads::Whole, hurries: false };
        let text: String = (0..100_000).map(|number| format!("{number} ")).collect();
        let text: &'static str = text.leak();
        let pieces = [&text[..5000], &text[5000..5010], &text[5010..], "end"];
        for length in [Length::Known, Length::Unknown] {
            let seen = subject.answering(&case, Some(said(200, &pieces, length))).await;
            let (first, rest) = read(&seen.written, false).unwrap();
            let (second, rest) = read(rest, false).unwrap();
            for reply in [first, second] {
                assert!(!reply.cut && reply.body == pieces.concat(), "{length:?}: {} bytes", reply.body.len());
            }
            assert!(rest.is_empty() && seen.requests.len() == 2, "{length:?}");
        }
    });
}
