//! What RFC 9113 says of frames, as h2spec asks it: each with its section.

use super::wire::*;
use super::*;

/// Where RFC 9113 has a code of its own, FRAME_SIZE_ERROR or another, and h2 does not: the connection ends all the
/// same.
const H2_SAYS: Reason = Reason::PROTOCOL_ERROR;

async fn proxy() -> (Proxy, Origin) {
    let origin = Origin::start(ok()).await;
    (Proxy::unchecked(&[origin.address()], ""), origin)
}

#[tokio::test]
async fn settings_are_acknowledged_and_pings_answered() {
    let (proxy, _origin) = proxy().await;
    let mut peer = Peer::silent(proxy.address).await;
    peer.bytes(PREFACE).await;
    peer.send(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).await;
    let theirs = peer.next().await.unwrap();
    assert_eq!((theirs.kind, theirs.flags, theirs.stream), (SETTINGS, 0, 0)); // §3.4: the first frame
    let settings: Vec<(u8, u32)> =
        theirs.payload.chunks(6).map(|one| (one[1], u32::from_be_bytes(one[2..].try_into().unwrap()))).collect();
    assert!(settings.contains(&(3, 128)) && settings.contains(&(4, 256 << 10)), "{settings:?}");
    assert!(settings.contains(&(6, 48 << 10)), "limits.head, and room to say no: {settings:?}");
    let ack = peer.until(SETTINGS).await;
    assert_eq!((ack.flags, ack.payload.len()), (ACK, 0)); // §6.5.3
    peer.lives().await;
    // §4.1: of unknown kind. §5.5. §6.3: a stream that does not exist. §6.5.2: an unknown setting. §6.7: nobody's
    // answer.
    peer.send(0x42, 0xff, 0, b"anything").await;
    peer.send(PRIORITY, 0, 9, &[0, 0, 0, 0, 16]).await;
    peer.send(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 1]).await;
    peer.send(PING, ACK, 0, b"whatever").await;
    peer.lives().await;
    peer.get(1, "/").await;
    assert_eq!(peer.status(1).await, 200);
    let data = peer.until(DATA).await;
    assert_eq!((data.payload.as_slice(), data.flags), (&b"ok"[..], END_STREAM));
}

#[tokio::test]
async fn broken_frames_end_the_connection() {
    let (proxy, _origin) = proxy().await;
    let get = head_of("GET", "/", &[]);
    let opened = |more: Vec<u8>| [frame(HEADERS, END_HEADERS, 1, &head_of("POST", "/", &[])), more].concat();
    let reset_open = |more: Vec<u8>| [frame(HEADERS, BOTH, 3, &get), more].concat();
    let mut others = Vec::new();
    for (why, bytes, reason) in [
        ("4.2 DATA too long", opened(frame(DATA, 0, 1, &[0; 16_385])), Reason::FRAME_SIZE_ERROR),
        ("4.2 HEADERS too long", frame(HEADERS, BOTH, 1, &[0; 16_385]), Reason::FRAME_SIZE_ERROR),
        ("4.3 a block that is none", frame(HEADERS, BOTH, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]), H2_SAYS),
        ("4.3 an index that is none", frame(HEADERS, BOTH, 1, &[0xfe]), H2_SAYS),
        (
            "4.3 PRIORITY within a block",
            [frame(HEADERS, END_STREAM, 1, &get), frame(PRIORITY, 0, 1, &[0; 5])].concat(),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "4.3 HEADERS within a block",
            [frame(HEADERS, END_STREAM, 1, &get), frame(HEADERS, BOTH, 3, &get)].concat(),
            Reason::PROTOCOL_ERROR,
        ),
        ("5.1 DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), Reason::PROTOCOL_ERROR),
        ("5.1 RST on an idle stream", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), Reason::PROTOCOL_ERROR),
        ("5.1 WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), Reason::PROTOCOL_ERROR),
        ("5.1 CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &get), Reason::PROTOCOL_ERROR),
        ("5.1.1 an even stream", frame(HEADERS, BOTH, 2, &get), Reason::PROTOCOL_ERROR),
        ("5.1.1 a stream that went by", reset_open(frame(HEADERS, BOTH, 1, &get)), Reason::PROTOCOL_ERROR),
        ("6.1 DATA without a stream", frame(DATA, 0, 0, b"x"), Reason::PROTOCOL_ERROR),
        ("6.1 padding longer than the frame", opened(frame(DATA, 8, 1, &[9, 0])), Reason::PROTOCOL_ERROR),
        ("6.2 HEADERS without a stream", frame(HEADERS, BOTH, 0, &get), Reason::PROTOCOL_ERROR),
        ("6.3 PRIORITY without a stream", frame(PRIORITY, 0, 0, &[0; 5]), Reason::PROTOCOL_ERROR),
        ("6.4 RST without a stream", frame(RST_STREAM, 0, 0, &[0; 4]), Reason::PROTOCOL_ERROR),
        ("6.4 RST of five bytes", opened(frame(RST_STREAM, 0, 1, &[0; 5])), H2_SAYS),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Reason::PROTOCOL_ERROR),
        ("6.5 SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), H2_SAYS),
        ("6.5 ACK with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), H2_SAYS),
        ("6.5.2 ENABLE_PUSH 2", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), Reason::PROTOCOL_ERROR),
        ("6.5.2 a window too large", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), H2_SAYS),
        ("6.5.2 a frame size too small", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), Reason::PROTOCOL_ERROR),
        ("6.6 PUSH_PROMISE from a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), Reason::PROTOCOL_ERROR),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), Reason::PROTOCOL_ERROR),
        ("6.7 PING of six bytes", frame(PING, 0, 0, &[0; 6]), H2_SAYS),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Reason::PROTOCOL_ERROR),
        ("6.9 WINDOW_UPDATE of zero", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Reason::PROTOCOL_ERROR),
        ("6.9 WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), H2_SAYS),
        (
            "6.9.1 a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Reason::FLOW_CONTROL_ERROR,
        ),
    ] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.bytes(&bytes).await;
        let all = peer.rest().await;
        let last = all.iter().rfind(|frame| frame.kind == GOAWAY).map(Frame::reason);
        if last != Some(reason) {
            others.push((why, last));
        }
    }
    assert_eq!(others, []);
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_ends_the_stream() {
    let (proxy, origin) = proxy().await;
    origin.set(Behaviour::Silent);
    let post = frame(HEADERS, END_HEADERS, 1, &head_of("POST", "/", &[]));
    for (why, bytes, reason) in [
        ("6.9 WINDOW_UPDATE of zero", frame(WINDOW_UPDATE, 0, 1, &[0; 4]), Reason::PROTOCOL_ERROR),
        (
            "6.9.1 a window that overflows",
            frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            Reason::FLOW_CONTROL_ERROR,
        ),
    ] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.bytes(&[post.clone(), bytes].concat()).await;
        let all = async {
            loop {
                let frame = peer.next().await.unwrap();
                if matches!(frame.kind, RST_STREAM | GOAWAY) {
                    break frame.reason();
                }
            }
        };
        assert_eq!(all.await, reason, "{why}"); // a stream error, or the connection's: both are allowed
    }
    // §5.1: half-closed (remote) takes no more DATA. RFC 9113 would have the stream end; h2 ends the connection, as it
    // may.
    let mut peer = Peer::connect(proxy.address).await;
    peer.get(1, "/").await;
    peer.send(DATA, END_STREAM, 1, b"more").await;
    peer.goes_away(Reason::PROTOCOL_ERROR, "5.1").await;
}

#[tokio::test]
async fn the_first_frame_must_be_settings() {
    let (proxy, origin) = proxy().await;
    let mut peer = Peer::silent(proxy.address).await;
    peer.bytes(&[PREFACE, &frame(HEADERS, BOTH, 1, &head_of("GET", "/", &[]))].concat()).await;
    peer.goes_away(Reason::PROTOCOL_ERROR, "3.4").await;
    assert!(origin.record().raw.is_empty());
}
