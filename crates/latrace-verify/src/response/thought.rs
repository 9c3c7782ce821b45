//! What of a response is meant for the reader: not the thought, not what comes after its end.

/// Markers around a thought.
const THOUGHTS: [(&str, &str); 5] = [
    ("<think>", "</think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

/// Markers around the part that answers.
const SOLUTIONS: [(&str, &str); 2] =
    [("<|begin_of_solution|>", "<|end_of_solution|>"), ("<answer>", "</answer>")];

/// Markers after which another turn begins.
const ENDS: [&str; 6] = ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "</s>", "<|end|>"];

/// The text behind the thought; `None` where a thought does not end.
pub fn visible(response: &str) -> Option<&str> {
    if !may_hold_markers(response) {
        return Some(response);
    }
    // The last end: some models think again after a first answer.
    let closed = THOUGHTS.iter().filter_map(|(_, close)| last_end(response, close)).max();
    let text = &response[closed.unwrap_or(0)..];
    // A thought that was cut off may hold boxes that the model was still to reject.
    if THOUGHTS.iter().any(|(open, _)| text.contains(open)) {
        return None;
    }
    // Servers that do not stop at the end of a turn continue with a question and an answer of their own.
    let solution = solution(text);
    let end = ENDS.iter().filter_map(|end| solution.find(end)).min();
    Some(&solution[..end.unwrap_or(solution.len())])
}

/// Whether a text holds what every marker begins with. Most do not, and need not be searched for each.
fn may_hold_markers(text: &str) -> bool {
    let begins =
        |pair: &[u8]| pair[0] == b'<' && (matches!(pair[1], b'/' | b'|') || pair[1].is_ascii_lowercase());
    text.as_bytes().windows(2).any(begins)
}

/// Where the last occurrence of a marker ends.
fn last_end(text: &str, marker: &str) -> Option<usize> {
    text.rfind(marker).map(|at| at + marker.len())
}

/// The part that answers, if it is marked. Of several the last counts, as of several boxes.
fn solution(text: &str) -> &str {
    SOLUTIONS.iter().fold(text, |text, (open, close)| last_between(text, open, close))
}

/// What stands between the last of two markers; either may be missing.
fn last_between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let inside = &text[last_end(text, open).unwrap_or(0)..];
    inside.split_once(close).map_or(inside, |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_begins_alike() {
        let pairs = THOUGHTS.iter().chain(&SOLUTIONS).flat_map(|(open, close)| [open, close]);
        for marker in pairs.chain(&ENDS) {
            assert!(may_hold_markers(marker), "{marker}");
        }
        assert!(!may_hold_markers("<<3<4>>"));
    }
}
