//! Holds JSON against the committed schema of errors: a small checker of the keywords that it uses, which refuses any
//! other. Stricter than the schema in one thing: what it does not describe is not there.

use std::sync::LazyLock;

use serde_json::Value;

use super::source;

pub const ERROR: &str = "config/error.schema.json";

/// The committed schema.
pub fn of_errors() -> Value {
    serde_json::from_str(&source::read(ERROR)).unwrap()
}

static ROOT: LazyLock<Value> = LazyLock::new(of_errors);

/// This is an error as the schema has it, or a panic that says where it is not.
pub fn assert_error(body: &Value) {
    let wrong = wrong(&ROOT, &ROOT, body, "");
    assert!(wrong.is_empty(), "not as {ERROR} says:\n{}\n{body:#}", wrong.join("\n"));
}

/// Everything that is not as the schema says, each with its place.
pub fn wrong(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, said) in schema.as_object().unwrap() {
        let number = || said.as_f64().unwrap();
        let length = || value.as_str().map_or(0, |text| text.chars().count()) as f64;
        let sound = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(said.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                found.extend(wrong(root, target, value, at));
                true
            }
            "type" => match said.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "number" => value.is_number(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("{at}: no such type: {other}"),
            },
            "const" => value == said,
            "enum" => said.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_some_and(|value| value >= number()),
            "maximum" => value.as_f64().is_some_and(|value| value <= number()),
            "minLength" => length() >= number(),
            "maxLength" => length() <= number(),
            "format" => value.as_str().is_some_and(|text| formatted(said.as_str().unwrap(), text)),
            "required" => said.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    match said.get(name) {
                        Some(schema) => found.extend(wrong(root, schema, inner, &format!("{at}/{name}"))),
                        None => found.push(format!("{at}/{name}: not described")),
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    found.extend(wrong(root, said, inner, &format!("{at}/{name}")));
                }
                true
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(wrong(root, said, inner, &format!("{at}/{index}")));
                }
                true
            }
            other => panic!("{at}: this checker does not know the keyword {other}"),
        };
        if !sound {
            found.push(format!("{at}: {keyword} {said}, not {value}"));
        }
    }
    found
}

fn formatted(format: &str, text: &str) -> bool {
    match format {
        // RFC 3339, in UTC, whole seconds.
        "date-time" => {
            text.len() == 20
                && text.bytes().zip(b"0000-00-00T00:00:00Z").all(|(b, like)| match like {
                    b'0' => b.is_ascii_digit(),
                    sign => b == *sign,
                })
        }
        "uri-reference" => text.parse::<http::Uri>().is_ok(),
        other => panic!("this checker does not know the format {other}"),
    }
}
