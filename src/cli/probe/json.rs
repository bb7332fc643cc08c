//! A report for scripts: an array with an object for each upstream, in the words of CONTRACT §5. Pure.

use serde_json::{Map, Value, json};

use crate::observe::json::millis_value;

use super::report::{Report, Step};

/// The document, indented, with an end of line.
pub(super) fn render(reports: &[Report]) -> String {
    let all: Vec<Value> = reports.iter().map(object).collect();
    // Values of our own making have no way to fail.
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

fn object(report: &Report) -> Value {
    let trouble = report.trouble.as_ref();
    let mut object = json!({
        "upstream": report.id,
        "address": report.address,
        "pool": report.pool.as_deref(),
        "usable": report.usable(),
        "elapsed_ms": millis_value(report.elapsed),
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
        "notes": report.notes,
    });
    if let (Some(trouble), Some(fields)) = (trouble, object.as_object_mut()) {
        let finding = trouble.finding.as_ref();
        let finding = finding
            .map(|finding| json!({ "sentence": finding.sentence, "write": finding.write, "command": finding.command }));
        fields.insert("cause".to_owned(), trouble.cause.token().into());
        fields.insert("phase".to_owned(), trouble.phase.token().into());
        fields.insert("hint".to_owned(), trouble.hint.clone().into());
        fields.insert("finding".to_owned(), finding.into());
        fields.insert("command".to_owned(), trouble.command.clone().into());
    }
    object
}

fn step(step: &Step) -> Value {
    let mut object = Map::new();
    object.insert("phase".to_owned(), step.phase.into());
    object.insert("elapsed_ms".to_owned(), millis_value(step.elapsed));
    object.insert("ok".to_owned(), step.ok.into());
    object.insert("said".to_owned(), step.said.clone().into());
    for (name, value) in &step.facts {
        object.insert((*name).to_owned(), value.clone());
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cause::{Cause, Failure, Finding};
    use crate::cli::probe::report::Trouble;

    #[test]
    fn what_failed_is_told_with_what_was_found() {
        let failure = Failure::new(Cause::ConnectionRefused);
        let finding = Finding::new(failure.cause, "But b:2 answers HTTP.").write("upstreams = [\"b:2\"]");
        let report = Report {
            id: "b:1".to_owned(),
            name: "shown".to_owned(),
            address: "b:1".to_owned(),
            steps: vec![Step::new("connect", Duration::from_micros(249), "no").because(failure.cause)],
            trouble: Some(Trouble::of(&failure, "b:1", "", Some(finding))),
            ..Report::default()
        };
        let all: Value = serde_json::from_str(&render(&[report])).unwrap();
        let wanted = json!([{
            "upstream": "b:1", "address": "b:1", "pool": null, "usable": false, "elapsed_ms": 0.0,
            "steps": [{ "phase": "connect", "elapsed_ms": 0.2, "ok": false, "said": "no", "cause": "connection_refused" }],
            "notes": [], "cause": "connection_refused", "phase": "connect",
            "hint": "Nothing listens on b:1. But b:2 answers HTTP.",
            "finding": { "sentence": "But b:2 answers HTTP.", "write": "upstreams = [\"b:2\"]", "command": null },
            "command": "causeway explain connection_refused",
        }]);
        assert_eq!(all, wanted);
    }
}
