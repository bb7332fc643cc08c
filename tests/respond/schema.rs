//! The committed JSON Schema of errors: its closed lists are the code's, and it says no to what is none.

use super::*;
use crate::support::{schema, source};

/// `UPDATE=1` writes the list of causes.
#[test]
fn its_closed_lists_are_those_of_the_code() {
    let mut said = schema::of_errors();
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.token()).collect();
    said["$defs"]["cause"]["enum"] = serde_json::json!(causes);
    source::kept(schema::ERROR, |_| serde_json::to_string_pretty(&said).unwrap() + "\n");
    let states = [State::Ready, State::Unknown, State::Evicted, State::Draining, State::Disabled];
    let listed = &said["$defs"]["not_tried"]["properties"]["state"]["enum"];
    assert_eq!(*listed, serde_json::json!(states.map(State::token)));
}

#[test]
fn what_is_no_error_is_found_out() {
    let root = schema::of_errors();
    let good: serde_json::Value = serde_json::from_str(&body(&golden(), Form::Json, true)).unwrap();
    assert_eq!(schema::wrong(&root, &root, &good, ""), Vec::<String>::new());
    for (place, value, wanted) in [
        ("/status", serde_json::json!(200), "/status: minimum 400, not 200"),
        ("/cause", "broken".into(), "/cause: enum"),
        ("/attempts/0/sent", "no".into(), "/attempts/0/sent: type \"boolean\", not \"no\""),
        ("/not_tried/0/since", "today".into(), "/not_tried/0/since: format \"date-time\""),
        ("/not_tried/0/reason", "tired".into(), "/not_tried/0/reason: enum"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let wrong = schema::wrong(&root, &root, &bad, "");
        assert!(wrong.len() == 1 && wrong[0].starts_with(wanted), "{wrong:?}");
    }
    let mut bad = good.clone();
    bad["attempts"][0]["colour"] = "red".into();
    assert_eq!(schema::wrong(&root, &root, &bad, ""), ["/attempts/0/colour: not described"]);
    bad = good;
    bad.as_object_mut().unwrap().remove("not_tried");
    assert_eq!(schema::wrong(&root, &root, &bad, "").len(), 1);
}
