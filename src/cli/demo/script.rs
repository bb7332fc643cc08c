//! The trouble, in order. Each step says what is done on purpose; what comes of it is the narrator's to tell.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cli::origin::Behaviour;
use crate::cli::origin::fault::Fault;

use super::narrator::Fact;
use super::setup::{APP, Cast, DOWN_PATH};
use super::traffic;

/// Peace before the first trouble.
const BEFORE: u64 = 4;

enum Act {
    Stop,
    Start,
    Behave(fn(Behaviour) -> Behaviour),
    AskAllDown,
}

struct Step {
    /// Index into [`APP`].
    who: usize,
    act: Act,
    /// What is said, after the name.
    says: &'static str,
    /// Trouble begins, or it ends.
    trouble: bool,
    /// Seconds until the next step.
    then: u64,
}

const STEPS: &[Step] = &[
    Step { who: 1, act: Act::Stop, says: "is stopped, on purpose.", trouble: true, then: 6 },
    Step { who: 1, act: Act::Start, says: "is started again.", trouble: false, then: 5 },
    Step {
        who: 2,
        act: Act::Behave(|good| good.failing(Fault::ReadTimeout)),
        says: "takes requests and says nothing, on purpose.",
        trouble: true,
        then: 7,
    },
    Step { who: 2, act: Act::Behave(|good| good), says: "answers again.", trouble: false, then: 5 },
    Step {
        who: 0,
        act: Act::Behave(|good| good.failing(Fault::ResetBeforeHead)),
        says: "resets every connection, on purpose.",
        trouble: true,
        then: 6,
    },
    Step { who: 0, act: Act::Behave(|good| good), says: "behaves again.", trouble: false, then: 5 },
    Step {
        who: 1,
        act: Act::Behave(|good| good.slow(Duration::from_millis(300))),
        says: "takes 300 ms for each answer. Slow is not dead: it stays.",
        trouble: true,
        then: 5,
    },
    Step { who: 1, act: Act::Behave(|good| good), says: "is quick again.", trouble: false, then: 2 },
    Step { who: 0, act: Act::AskAllDown, says: "", trouble: false, then: 4 },
];

/// Plays the steps, once or for ever.
///
/// # Errors
/// When an upstream cannot be started again: somebody has taken its port.
pub(super) async fn run(cast: &mut Cast, facts: &mpsc::Sender<Fact>, port: u16, once: bool) -> io::Result<()> {
    sleep(Duration::from_secs(BEFORE)).await;
    loop {
        for step in STEPS {
            let origin = &mut cast.app[step.who];
            if !step.says.is_empty() {
                let words = format!("{} {}", APP[step.who], step.says);
                let _ = facts.send(Fact::Said { words, trouble: step.trouble }).await;
            }
            match step.act {
                Act::Stop => origin.stop().await,
                Act::Start => origin.restart().await?,
                Act::Behave(change) => origin.set(change(Behaviour::good(APP[step.who]))),
                // Its answer is told by the narrator, as for anybody who asks.
                Act::AskAllDown => drop(traffic::get(port, DOWN_PATH).await),
            }
            if step.trouble {
                // Before the checks have taken it out, somebody must have met it.
                traffic::burst(port).await;
            }
            sleep(Duration::from_secs(step.then)).await;
        }
        if once {
            return Ok(());
        }
    }
}
