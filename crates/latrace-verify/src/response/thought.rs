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
    let closed =
        THOUGHTS.iter().filter_map(|(_, close)| response.rfind(close).map(|at| at + close.len())).max();
    let mut text = &response[closed.unwrap_or(0)..];
    // A thought that was cut off may hold boxes that the model was still to reject.
    if THOUGHTS.iter().any(|(open, _)| text.contains(open)) {
        return None;
    }
    // Of several solutions the last counts, as of several boxes.
    for (open, close) in SOLUTIONS {
        if let Some(at) = text.rfind(open) {
            text = &text[at + open.len()..];
        }
        if let Some(at) = text.find(close) {
            text = &text[..at];
        }
    }
    // Servers that do not stop at the end of a turn go on with a question and an answer of their own.
    let end = ENDS.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    Some(&text[..end])
}
