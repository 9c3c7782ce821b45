//! What differs between two descriptions of work, such as the keys of a stage, in words.

use std::collections::BTreeSet;

use serde_json::Value;

/// More differences than these are counted, not listed: a change of a model or a data set makes dozens.
const SHOWN: usize = 3;

/// Characters of a value that are shown: the text of a template would fill the screen.
const SHOWN_CHARACTERS: usize = 40;

/// Names under which descriptions have digests of files, not settings.
const DIGESTS: [&str; 3] = ["model", "data", "files"];

/// The differences of two descriptions, as dotted names with both values.
pub fn difference(earlier: &Value, now: &Value) -> String {
    let mut found = Vec::new();
    collect("", earlier, now, &mut found);
    match found.len() {
        0..=SHOWN => found.join(", "),
        all => format!("{}, and {} more", found[..SHOWN].join(", "), all - SHOWN),
    }
}

fn collect(name: &str, earlier: &Value, now: &Value, found: &mut Vec<String>) {
    let (Value::Object(left), Value::Object(right)) = (earlier, now) else {
        found.extend((earlier != now).then(|| described(name, earlier, now)));
        return;
    };
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for inner in names {
        // A field that one key lacks counts as null there.
        let of = |key| Value::get(key, inner).unwrap_or(&Value::Null);
        collect(&dotted(name, inner), of(earlier), of(now), found);
    }
}

fn dotted(name: &str, inner: &str) -> String {
    if name.is_empty() { inner.to_owned() } else { format!("{name}.{inner}") }
}

/// One difference. Digests say nothing to a reader, so of what they stand for only the name is shown.
fn described(name: &str, earlier: &Value, now: &Value) -> String {
    let shown = name.trim_start_matches("settings.");
    let is_digest = |name: &&str| DIGESTS.iter().any(|digest| name.split('.').next() == Some(digest));
    match shown.strip_prefix("inputs.").or(Some(shown).filter(is_digest)) {
        Some(input) => format!("{input} changed"),
        None => format!("{shown} was {}, is {}", shorten(earlier), shorten(now)),
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_shown_with_both_values_and_inputs_by_name() {
        let earlier = json!({"settings": {"seed": 1, "n": 4}, "inputs": {"traces": "a"}});
        let now = json!({"settings": {"seed": 2}, "inputs": {"traces": "b"}});
        assert_eq!(difference(&earlier, &now), "traces changed, n was 4, is null, seed was 1, is 2");
        assert_eq!(difference(&now, &now), "");
        let work = |digest: &str, seed: u64| json!({"model": {"config.json": digest, "model.safetensors": "b"}, "data": digest, "seed": seed});
        let expected = "data changed, model.config.json changed, seed was 1, is 2";
        assert_eq!(difference(&work("a", 1), &work("b", 2)), expected);
    }

    #[test]
    fn many_differences_are_counted_and_long_values_cut() {
        let values = |value: &str| json!({"a": value, "b": value, "c": value, "d": value, "e": value});
        let text = difference(&values(&"x".repeat(50)), &values("y"));
        assert!(text.starts_with(&format!("a was \"{}…, is \"y\", b was", "x".repeat(39))), "{text}");
        assert!(text.ends_with(", and 2 more"), "{text}");
    }
}
