//! What is where on the admin address: one arm for each noun, and the list that `/` shows.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::cause::escape;
use crate::config::document::document;
use crate::observe::metrics::text::Page;

use super::answer::{self, Answer, Refusal, text};
use super::switch::{self, Target};
use super::{ANSWER, Admin, Generation, dashboard, guard, incidents, metrics, openapi, ready, reload, status};

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    List,
    Live,
    Ready,
    Metrics,
    Status,
    Config,
    OpenApi,
    Incidents,
    Incident(&'p str),
    Events,
    Reload,
    Switch(Target),
}

const LIST: &str = "causeway admin
  /                    this list; in a browser, a page that shows all of it
  /livez               200 while the process runs
  /readyz              200 from the first health checks on, until shutdown
  /readyz?pool=NAME    and while that pool has a usable upstream
  /readyz?pool=all     and while every pool has one
  /readyz?verbose      says what it looked at
  /metrics             numbers for Prometheus, also as OpenMetrics
  /api/status          pools and upstreams, rates, what failed: causeway status
  /api/incidents       requests that failed, the newest first
                       ?limit=100 &cause=read_timeout &pool=NAME
  /api/incidents/ID    one of them, whole: 8 characters of its id are enough
  /api/events          what happens, as it happens (server-sent events)
                       ?after=ID from there on
  /api/config          the configuration in force, secrets masked
  PUT /api/pools/POOL/upstreams/NAME/state
                       {\"state\":\"enabled|draining|disabled\"}, from this machine,
                       or with the token of admin.token_file
  POST /api/reload     reads the config again; answers when it is in force,
                       or with what is wrong; by the same right
  /openapi.json        all of this for machines
";

impl<'p> Route<'p> {
    fn of(path: &'p str) -> Option<Self> {
        Some(match path {
            "/" => Self::List,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/events" => Self::Events,
            "/api/status" => Self::Status,
            "/api/config" => Self::Config,
            "/api/reload" => Self::Reload,
            "/openapi.json" => Self::OpenApi,
            "/api/incidents" | "/api/incidents/" => Self::Incidents,
            _ => match path.strip_prefix("/api/incidents/") {
                Some(id) => Self::Incident(id),
                None => Self::Switch(Target::of(path)?),
            },
        })
    }

    /// Milliseconds of work, with a thousand upstreams or incidents.
    const fn is_long(&self) -> bool {
        matches!(self, Self::Metrics | Self::Status | Self::Incidents | Self::Incident(_))
    }

    /// As in Allow.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Switch(_) => "PUT",
            Self::Reload => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// How long its answer may take.
pub(super) fn limit(request: &Request<Incoming>) -> Duration {
    match Route::of(request.uri().path()) {
        Some(Route::Reload) => reload::LIMIT + ANSWER,
        _ => ANSWER,
    }
}

/// Answers one request.
pub(super) async fn answer(admin: &Admin, peer: IpAddr, request: Request<Incoming>) -> Answer {
    let uri = request.uri().clone();
    let Some(route) = Route::of(uri.path()) else {
        let path = escape(uri.path().as_bytes());
        return text(StatusCode::NOT_FOUND, format!("Nothing is at {path}.\n\n{LIST}"));
    };
    let methods = route.methods();
    if !methods.split(", ").any(|method| method == request.method().as_str()) {
        return answer::only(methods);
    }
    let query = uri.query().unwrap_or("");
    let _turn = if route.is_long() { admin.desk.acquire().await.ok() } else { None };
    let seen = admin.look();
    let answered = match route {
        Route::List if dashboard::wanted(request.headers()) => {
            guard::may_look(seen.proxy.name(), request.headers()).map(|()| dashboard::page())
        }
        Route::List => Ok(text(StatusCode::OK, LIST)),
        Route::Live => Ok(text(StatusCode::OK, "alive\n")),
        Route::Ready => {
            let (status, mut body) = ready::answer(&admin.state(&seen), query);
            let _ = writeln!(body);
            Ok(text(status, body))
        }
        Route::Metrics => {
            let open = metrics::wants_open(request.headers());
            Ok(answer::of(Page::content_type(open), metrics::page(admin, open)))
        }
        Route::Status => guard::may_look(seen.proxy.name(), request.headers())
            .map(|()| answer::document(&status::status(admin, Instant::now()))),
        Route::Config => {
            guard::may_look(seen.proxy.name(), request.headers()).map(|()| answer::document(&document(&seen.config)))
        }
        Route::OpenApi => Ok(answer::of("application/json", openapi::document())),
        Route::Incidents => guard::may_look(seen.proxy.name(), request.headers())
            .and_then(|()| incidents::list(seen.proxy.incidents(), &seen.pools, query)),
        Route::Incident(id) => guard::may_look(seen.proxy.name(), request.headers())
            .and_then(|()| incidents::one(&seen.proxy, id, request.headers())),
        Route::Events => guard::may_look(seen.proxy.name(), request.headers())
            .and_then(|()| admin.streams.open(request.method(), request.headers(), query, request.extensions().get())),
        Route::Switch(target) => switched(&seen, &target, peer, request).await,
        Route::Reload => {
            let may = guard::may_change(peer, seen.config.admin_token.as_ref(), request.headers());
            match may {
                Ok(()) => reload::reload(admin, request.extensions().get()).await,
                Err(refusal) => Err(refusal),
            }
        }
    };
    answered.unwrap_or_else(answer::refused)
}

/// The operator's word on an upstream.
async fn switched(
    seen: &Generation,
    target: &Target,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    guard::may_change(peer, seen.config.admin_token.as_ref(), request.headers())?;
    let body = Limited::new(request.into_body(), switch::LONGEST).collect().await;
    let body = body.map_err(|error| (StatusCode::BAD_REQUEST, format!("The body could not be read: {error}.")))?;
    switch::switch(&seen.pools, target, &body.to_bytes(), Instant::now()).map(answer::written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_listed_is_there() {
        let words = LIST.split_ascii_whitespace();
        let paths: Vec<_> = words.filter(|word| word.starts_with('/')).map(|word| word.split('?').next()).collect();
        assert_eq!(paths.len(), 15);
        assert!(paths.iter().flatten().all(|path| Route::of(path).is_some()), "{paths:?}");
        assert!(LIST.lines().all(|line| line.len() <= 80) && LIST.is_ascii());
        assert_eq!(Route::of("/nothing"), None);
    }
}
