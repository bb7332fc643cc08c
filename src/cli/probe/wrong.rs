//! What makes an upstream unusable, as the looks of `probe` find it, and the closer look that says why. It asks nothing
//! of an upstream itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Semaphore;

use crate::cause::{Cause, Failure, Finding};
use crate::config::Endpoint;
use crate::config::model::Check;
use crate::pool::insight::Asker;

use super::around::{self, Around};
use super::host;
use super::report::Trouble;
use super::target::Target;

/// What sets the time of a check.
pub(super) const CHECK: &str = "limit: health.timeout";

/// What makes an upstream unusable.
pub(super) struct Wrong {
    pub(super) failure: Failure,
    /// What set the time that ran out.
    pub(super) limit: &'static str,
    /// Where: the port of the check may be another.
    pub(super) at: Arc<Endpoint>,
    /// What to do about an answer that a check does not want.
    pub(super) advice: Option<String>,
}

impl Wrong {
    pub(super) fn new(failure: Failure, limit: &'static str, at: &Arc<Endpoint>) -> Self {
        Self { failure, limit, at: Arc::clone(at), advice: None }
    }

    /// Another Host may get an answer, and none was found yet that does.
    pub(super) const fn may_be_its_host(&self) -> bool {
        host::is_silence(self.failure.cause) && self.advice.is_none()
    }

    /// HTTP works, and the check wants something else.
    pub(super) const fn is_checks_own(&self) -> bool {
        matches!(self.failure.cause, Cause::HealthStatus | Cause::HealthBody)
    }

    /// Whose clock ran out, or would have: what a finding names to be changed.
    pub(super) fn asker(&self, target: &Target) -> Asker {
        let grpc = target.pool.health.as_ref().is_some_and(|health| matches!(health.check, Check::Grpc(_)));
        match self.limit {
            CHECK if grpc => Asker::GrpcCheck,
            CHECK => Asker::Check,
            limit if limit.contains("--timeout") => Asker::Probe("--timeout"),
            _ => Asker::Traffic,
        }
    }

    pub(super) async fn told(self, target: &Target, room: &Room) -> Trouble {
        let finding = if self.is_checks_own() { None } else { room.explains(target, &self).await };
        let Self { failure, limit, at, advice } = self;
        let trouble = Trouble::of(&failure, &at.authority, limit, finding);
        match advice {
            Some(advice) => trouble.advised(advice),
            None => trouble,
        }
    }
}

/// What all looks share.
pub(super) struct Room {
    pub(super) places: Semaphore,
    /// Diagnoses that may still be made: where many fail, the first ones say it.
    pub(super) diagnoses: AtomicUsize,
    pub(super) around: Around,
}

impl Room {
    /// A closer look: what answers there, or next to it.
    async fn explains(&self, target: &Target, wrong: &Wrong) -> Option<Finding> {
        let one_less = |left: usize| left.checked_sub(1);
        self.diagnoses.fetch_update(Relaxed, Relaxed, one_less).ok()?;
        let seen = around::Seen {
            cause: wrong.failure.cause,
            configured: target.configured,
            asker: wrong.asker(target),
            elsewhere: *wrong.at.authority != target.address.to_string(),
        };
        self.around.explains(&wrong.at, seen).await
    }
}
