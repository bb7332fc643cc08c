//! Every way in which HTTP/2 to an upstream can go wrong: its cause, its phase, and whether the request was sent.

use causeway::cause::{Cause, Phase};

use super::{Bench, MS, body_failure, feed, full, get, post, text};
use crate::support::h2::{CANCEL, Cut, ENHANCE_YOUR_CALM, Fault, Frames, REFUSED_STREAM, Streams};
use crate::support::origin::{Behaviour, Origin};

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;

#[tokio::test]
async fn every_fault_before_the_head_has_its_cause() {
    use Cause as C;
    let (connect, head) = ((Phase::Connect, false), (Phase::Head, true));
    let unsent = (Phase::Head, false);
    for (fault, cause, (phase, sent), seen) in [
        // Nothing of the request goes out before the upstream has said that it speaks HTTP/2.
        (Fault::Mute, C::ConnectTimeout, connect, "no word of HTTP/2"),
        (Fault::Slams { reset: false }, C::ConnectReset, connect, "closed at the first bytes of HTTP/2"),
        (Fault::Slams { reset: true }, C::ConnectReset, connect, "reset at the first bytes of HTTP/2"),
        (
            Fault::Answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            C::H2ProtocolError,
            unsent,
            "it answered in HTTP/1.1, \"HTTP/1.1 400 Bad Request\"",
        ),
        (Fault::Answers(b"\x15\x03\x03\x00\x02\x02\x46"), C::SpeaksTls, unsent, "\\x15\\x03"),
        (Fault::Answers(b"SSH-2.0-OpenSSH_9.2p1\r\n"), C::NotHttp, unsent, "SSH-2.0"),
        // It said that it leaves before the request was there.
        (Fault::Leaves(ENHANCE_YOUR_CALM), C::H2ProtocolError, unsent, "GOAWAY with ENHANCE_YOUR_CALM"),
        (Fault::Reset(REFUSED_STREAM), C::H2StreamRefused, unsent, "RST_STREAM with REFUSED_STREAM"),
        (Fault::Reset(CANCEL), C::H2ProtocolError, head, "RST_STREAM with CANCEL"),
        (Fault::Reset(13), C::H2ProtocolError, head, "RST_STREAM with HTTP_1_1_REQUIRED"),
        (Fault::Reset(99), C::H2ProtocolError, head, "RST_STREAM with code 99"),
        (Fault::Disowns(NO_ERROR), C::H2StreamRefused, unsent, "GOAWAY with NO_ERROR"),
        (Fault::Disowns(PROTOCOL_ERROR), C::H2ProtocolError, unsent, "GOAWAY with PROTOCOL_ERROR"),
        (Fault::Forsakes(NO_ERROR), C::ClosedWithoutResponse, head, ""),
        (Fault::Forsakes(ENHANCE_YOUR_CALM), C::H2ProtocolError, head, "GOAWAY with ENHANCE_YOUR_CALM"),
        (Fault::Drops { reset: false }, C::ClosedWithoutResponse, head, ""),
        (Fault::Drops { reset: true }, C::ResetBeforeHead, head, ""),
        (Fault::HalfHead, C::TruncatedHead, head, ""),
        (Fault::BadField, C::H2ProtocolError, head, "PROTOCOL_ERROR in what it sent"),
        (Fault::BadFrame, C::H2ProtocolError, head, "PROTOCOL_ERROR in what it sent"),
        (Fault::Head(70 << 10), C::ResponseHeadTooLarge, head, ""),
        (Fault::Interim(1001), C::InvalidHead, head, "1000 interim answers and no other"),
        (Fault::Switches, C::H2ProtocolError, head, "it answered 101, which HTTP/2 does not have"),
        (Fault::Silent, C::ReadTimeout, head, ""),
        (Fault::Slots(0), C::UpstreamBusy, (Phase::Queue, false), "its first SETTINGS allow no stream"),
    ] {
        let origin = Frames::start(fault.clone()).await;
        let mut bench = Bench::h2(origin.address());
        (bench.timeouts.connect, bench.timeouts.read) = (300 * MS, 300 * MS);
        let failure = bench.failure(get()).await;
        let told = (failure.cause, failure.phase, failure.sent);
        assert_eq!(told, (cause, phase, sent), "{fault:?}: {failure} {:?}", failure.seen);
        let said = failure.seen.clone().unwrap_or_default();
        assert!(said.starts_with(seen), "{fault:?}: {said}");
        if cause == C::ResponseHeadTooLarge {
            let over = failure.oversize.as_ref().unwrap();
            assert!(over.size > 70 << 10, "{over:?}");
            let (name, size) = failure.field_too_large().unwrap();
            assert!(name == "Set-Cookie" && size > 70 << 10, "{name} {size}");
        }
    }
}

#[tokio::test]
async fn an_upstream_of_http_1_is_told_from_one_that_is_none() {
    let origin = Origin::start(Behaviour::Status(400)).await;
    let failure = Bench::h2(origin.address()).failure(get()).await;
    assert_eq!((failure.cause, failure.sent), (Cause::H2ProtocolError, false), "{failure}");
    let hint = failure.hint("app:3000");
    assert!(hint.contains("\"http://app:3000\"") || hint.contains("write app:3000"), "{hint}");
    let nobody = Bench::h2(Origin::nobody()).failure(get()).await;
    assert_eq!((nobody.cause, nobody.phase, nobody.sent), (Cause::ConnectionRefused, Phase::Connect, false));
}

#[tokio::test]
async fn a_body_that_ends_too_early_says_how() {
    for (fault, cause, seen) in [
        (Fault::Cut(Cut::EndStream), Cause::TruncatedBody, "of 9 bytes"),
        (Fault::Cut(Cut::Reset(CANCEL)), Cause::TruncatedBody, "of 9 bytes, reset with CANCEL"),
        (Fault::Cut(Cut::Fin), Cause::TruncatedBody, "of 9 bytes"),
        (Fault::Cut(Cut::Rst), Cause::TruncatedBody, "of 9 bytes"),
        (Fault::CutUnknown(Cut::Reset(2)), Cause::TruncatedBody, "reset with INTERNAL_ERROR after"),
        (Fault::CutUnknown(Cut::Fin), Cause::TruncatedBody, "closed after"),
        (Fault::CutUnknown(Cut::Rst), Cause::TruncatedBody, "reset after"),
        (Fault::CutUnknown(Cut::Stall), Cause::BodyTimeout, ""),
    ] {
        let origin = Frames::start(fault.clone()).await;
        let mut bench = Bench::h2(origin.address());
        bench.timeouts.body = 300 * MS;
        // The reset of a connection may overtake what came before it.
        let failure = match bench.get().await {
            Ok(response) => body_failure(response).await,
            Err(failure) => {
                assert!(matches!(fault, Fault::Cut(_) | Fault::CutUnknown(_)), "{fault:?}: {failure}");
                assert!(
                    matches!(failure.cause, Cause::ResetBeforeHead | Cause::H2ProtocolError),
                    "{fault:?}: {failure}"
                );
                continue;
            }
        };
        let said = failure.seen.clone().unwrap_or_default();
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Body, true), "{fault:?}: {failure}");
        assert!(said.contains(seen), "{fault:?}: {said}");
    }
}

#[tokio::test]
async fn a_body_that_finds_no_window_meets_the_write_clock() {
    let origin = Frames::start(Fault::NoWindow).await;
    let mut bench = Bench::h2(origin.address());
    bench.timeouts.write = 300 * MS;
    let failure = bench.failure(post(full("body"))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::WriteTimeout, Phase::Request, true));
    // The stream is reset, and the connection goes on.
    origin.until(|record| record.resets == [(1, CANCEL)]).await;
    assert_eq!(origin.record().ended, 0);
}

#[tokio::test]
async fn no_clock_runs_while_the_client_is_slow() {
    let origin = Streams::echo().await;
    let mut bench = Bench::h2(origin.address());
    (bench.timeouts.read, bench.timeouts.write, bench.timeouts.body) = (100 * MS, 100 * MS, 100 * MS);
    let (sender, _, body) = feed();
    let slow = async {
        for part in ["a", "b", "c"] {
            tokio::time::sleep(200 * MS).await;
            sender.send(Ok(part.into())).unwrap();
        }
        drop(sender);
    };
    let answer = async { text(bench.send(post(body)).await.unwrap()).await };
    assert_eq!(tokio::join!(answer, slow).0, "abc");
}

#[tokio::test]
async fn a_failing_request_body_is_the_clients_fault() {
    let origin = Frames::start(Fault::Silent).await;
    let mut bench = Bench::h2(origin.address());
    let (sender, _, body) = feed();
    sender.send(Ok("half".into())).unwrap();
    sender.send(Err("gone".into())).unwrap();
    let failure = bench.send(post(body)).await.unwrap_err();
    assert_eq!((failure.cause, failure.phase), (Cause::ClientClosed, Phase::Request));
    origin.until(|record| record.resets.len() == 1 || record.requests == 0).await;
}

#[tokio::test]
async fn early_answers_and_interim_ones_and_those_without_a_body() {
    let origin = Frames::start(Fault::Early).await;
    let mut bench = Bench::h2(origin.address());
    let (sender, _, body) = feed();
    sender.send(Ok("begin".into())).unwrap();
    let answer = bench.send(post(body)).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(text(answer).await, "too large", "RST_STREAM with NO_ERROR behind it is no failure");
    drop(sender);

    let origin = Frames::start(Fault::Interim(100)).await;
    assert_eq!(Bench::h2(origin.address()).text().await, "ok");

    for status in [204, 304] {
        let origin = Frames::start(Fault::Status(status)).await;
        let answer = Bench::h2(origin.address()).get().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-a"]), (status, &"b".parse().unwrap()));
        assert_eq!(text(answer).await, "");
    }
    // A HEAD has its length and no body.
    let origin = Frames::start(Fault::Cut(Cut::Stall)).await;
    let head = http::Request::head("/").header("host", "a").body(full("")).unwrap();
    let answer = Bench::h2(origin.address()).send(head).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "9");
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn a_connection_that_left_while_it_was_idle_blames_nobody() {
    for (fault, sent) in [(Fault::Disowns(NO_ERROR), false), (Fault::Drops { reset: false }, true)] {
        let origin = Frames::start(Fault::Ok("ok")).await;
        let mut bench = Bench::h2(origin.address());
        assert_eq!(bench.text().await, "ok");
        origin.set(fault.clone());
        let failure = bench.failure(get()).await;
        assert_eq!((failure.cause, failure.sent), (Cause::StaleConnection, sent), "{fault:?}: {failure}");
        origin.set(Fault::Ok("again"));
        bench.fresh = true;
        assert_eq!(bench.text().await, "again");
        assert_eq!(origin.record().connections, 2);
    }
    // Who had the request for so long has met no idle clock.
    let origin = Frames::start(Fault::Ok("ok")).await;
    let mut bench = Bench::h2(origin.address());
    bench.text().await;
    origin.set(Fault::Broods(1200 * MS));
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.sent), (Cause::ClosedWithoutResponse, true), "{failure}");
    assert!(bench.progress.reused());
    // One that has ended already is not even tried.
    let origin = Frames::start(Fault::Ok("ok")).await;
    let mut bench = Bench::h2(origin.address());
    for round in 1..=10 {
        origin.set(if round % 2 == 0 { Fault::Last("ok") } else { Fault::Ok("ok") });
        assert_eq!(bench.text().await, "ok");
        if round % 2 == 0 {
            origin.until(|record| record.ended == round / 2).await;
        }
    }
    assert_eq!((origin.record().connections, origin.record().requests), (5, 10));
}
