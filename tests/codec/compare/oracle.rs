//! What hyper's client makes of an answer, with the limits that causeway gave it.

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::script::{self, Script};
use super::{Again, Answer, Case, End, FIELDS_LIMIT, HEAD_LIMIT, Kind, Observed, RequestBody, SECOND, SILENCE};

/// How far both codecs read ahead, bytes.
const BUFFER: usize = 64 << 10;

/// Runs on [`super::timeless`].
pub async fn observe(case: &Case<'_>) -> Observed {
    let (wire, script) = script::connection(case);
    let mut builder = Builder::new();
    builder.max_headers(FIELDS_LIMIT).max_header_size(HEAD_LIMIT).max_buf_size(BUFFER);
    let (mut sender, connection) = builder.handshake(TokioIo::new(wire)).await.expect("no handshake is made");
    let driver = tokio::spawn(connection.with_upgrades());
    let observed = exchange(&mut sender, case.kind, &script).await;
    driver.abort();
    observed
}

async fn exchange(sender: &mut SendRequest<RequestBody>, kind: Kind, script: &Script) -> Observed {
    let mut response = match timeout(SILENCE, sender.send_request(kind.request())).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Observed::Refused(format!("{error:?}")),
        Err(_elapsed) => return Observed::Refused("silence".into()),
    };
    let (version, status, fields) = (response.version(), response.status(), super::fields(response.headers()));
    if status == http::StatusCode::SWITCHING_PROTOCOLS {
        let end = match timeout(SILENCE, hyper::upgrade::on(&mut response)).await {
            Ok(Ok(upgraded)) => End::Tunnel(super::drain(TokioIo::new(upgraded)).await),
            Ok(Err(error)) => End::Cut(format!("{error:?}")),
            Err(_elapsed) => End::Waits,
        };
        return Observed::Answered(Answer {
            version,
            status,
            fields,
            body: bytes::Bytes::new(),
            trailers: None,
            end,
            again: Again::Closed,
        });
    }
    let (body, trailers, end) = super::read(response.into_body()).await;
    let again = if end == End::Complete { again(sender, script).await } else { Again::Closed };
    Observed::Answered(Answer { version, status, fields, body, trailers, end, again })
}

async fn again(sender: &mut SendRequest<RequestBody>, script: &Script) -> Again {
    // Passes once the connection's task has nothing left to do: it has read what there is to read by then.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    script.answer_next(SECOND);
    if !sender.is_ready() {
        return Again::Closed;
    }
    match timeout(SILENCE, sender.send_request(Kind::Get.request())).await {
        Ok(Ok(response)) => {
            let status = response.status();
            let (body, _, end) = super::read(response.into_body()).await;
            Again::judge(status, &body, &end)
        }
        _ => Again::Closed,
    }
}

impl Again {
    /// Whether it is [`SECOND`].
    pub fn judge(status: http::StatusCode, body: &[u8], end: &End) -> Self {
        if status == 203 && body == b"second" && *end == End::Complete {
            Self::Answered
        } else {
            Self::Poisoned(format!("{status} {}", body.escape_ascii()))
        }
    }
}
