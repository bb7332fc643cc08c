//! What hyper's server makes of a client, with the limits that causeway gave it.

use std::convert::Infallible;
use std::os::unix::net::UnixStream as Client;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::stage::{Said, Stage, observed};
use super::talk::talk;
use super::{Case, FIELDS_LIMIT, HEAD_LIMIT, Observed};

/// Runs on [`super::one_thread`].
pub async fn observe(case: &Case<'_>) -> Observed {
    answering(case, None).await
}

/// The same; every answer is this one.
pub async fn answering(case: &Case<'_>, said: Option<Said>) -> Observed {
    let (client, server) = Client::pair().expect("a pair of sockets");
    client.set_nonblocking(true).expect("a socket that does not block");
    server.set_nonblocking(true).expect("a socket that does not block");
    let server = UnixStream::from_std(server).expect("a socket of this runtime");
    let stage = Stage::default();
    stage.begin(case.reads, said);
    let driver = tokio::spawn({
        let stage = stage.clone();
        async move {
            let answers = stage.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let stage = answers.clone();
                async move { Ok::<_, Infallible>(stage.answer(request).await) }
            });
            let mut builder = Builder::new();
            builder.half_close(true).max_headers(FIELDS_LIMIT).max_header_size(HEAD_LIMIT).max_buf_size(4 * HEAD_LIMIT);
            if let Err(error) = builder.serve_connection(TokioIo::new(server), service).with_upgrades().await
                && error.is_parse()
            {
                stage.refuse(format!("{error:?}"));
            }
        }
    });
    let talk = talk(&client, case).await;
    drop(client);
    driver.await.expect("hyper does not panic");
    observed(&stage, talk)
}
