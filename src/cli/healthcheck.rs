//! `causeway healthcheck`: is the running proxy ready? For Docker's HEALTHCHECK and for Kubernetes.
//!
//! Exit code 0 or 1, never another: Docker keeps 2 for itself. It takes two seconds at most, whatever the other side
//! does.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cause::escape;

use super::ask::{Answer, Question, escaped};

/// For all of it, names included.
const LIMIT: Duration = Duration::from_secs(2);
/// Of an answer, as much is read.
const ANSWER: u64 = 16 << 10;

/// The words of `causeway healthcheck`.
#[derive(Args, Debug)]
pub struct HealthcheckArgs {
    /// Also wants a usable upstream in this pool, or in every pool ("all")
    #[arg(long, value_name = "NAME|all")]
    pool: Option<String>,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

/// Asks once, says why not.
#[must_use]
pub fn run(args: HealthcheckArgs) -> ExitCode {
    let target = args.pool.map_or_else(|| "/readyz".to_owned(), |pool| format!("/readyz?pool={}", escaped(&pool)));
    let question = Question { admin: args.admin, target, accept: "text/plain", limit: LIMIT, most: ANSWER };
    match question.ask() {
        Ok(Answer { status: 200, .. }) => ExitCode::SUCCESS,
        Ok(answer) => super::failed("healthcheck", &why_not(&answer)),
        Err(why) => super::failed("healthcheck", &why),
    }
}

fn why_not(Answer { admin, status, body, .. }: &Answer) -> String {
    match (status, body.lines().next()) {
        (0, _) => format!("{admin} does not speak HTTP: is it causeway's admin address?"),
        (_, None) => format!("{admin} answered {status}"),
        (_, Some(why)) => escape(why.as_bytes()),
    }
}
