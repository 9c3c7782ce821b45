//! Tokenizers of the built-in tasks: one token per word, with words separated by spaces.

use serde_json::{Map, Value, json};

/// The end token.
pub const END: &str = "<|end|>";
/// The unknown token.
pub const UNKNOWN: &str = "<unk>";
/// Special tokens, from id 0: the boundary tokens of prompts and thoughts, and the two above.
const SPECIAL: [&str; 5] = [UNKNOWN, END, "<think>", "</think>", "<hint>"];

/// The text of a `tokenizer.json` (Hugging Face) whose vocabulary is the special tokens, then `words`.
/// Decoding joins words with single spaces.
pub fn tokenizer_json(words: &[String]) -> String {
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(),
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary(words), "unk_token": UNKNOWN},
    });
    format!("{tokenizer:#}\n")
}

fn vocabulary(words: &[String]) -> Map<String, Value> {
    let all = SPECIAL.into_iter().chain(words.iter().map(String::as_str));
    all.enumerate().map(|(id, word)| (word.into(), json!(id))).collect()
}

fn added_tokens() -> Vec<Value> {
    SPECIAL.iter().enumerate().map(|(id, content)| added_token(id, content)).collect()
}

fn added_token(id: usize, content: &str) -> Value {
    // All of them are written out: the reader of `tokenizer.json` has no defaults for these fields.
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

#[cfg(test)]
mod tests {
    use super::*;
    use latrace_core::Tokenizer;

    fn small() -> Tokenizer {
        Tokenizer::from_bytes(tokenizer_json(&["36".to_owned(), "*2".to_owned(), "x".to_owned()]).as_bytes())
            .unwrap()
    }

    #[track_caller]
    fn check(text: &str, ids: &[u32], back: &str) {
        assert_eq!(small().encode(text).unwrap(), ids, "{text}");
        assert_eq!(small().decode(ids).unwrap(), back);
    }

    #[test]
    fn words_and_special_tokens_are_one_token_each_and_come_back_with_one_space_between() {
        check("36 *2 x", &[5, 6, 7], "36 *2 x");
        check(
            "36 <hint> *2 <think>36 </think> x<|end|>",
            &[5, 4, 6, 2, 5, 3, 7, 1],
            "36 <hint> *2 <think> 36 </think> x <|end|>",
        );
        check("  36\n*2  ", &[5, 6], "36 *2");
        check("36*2 y", &[0, 0], "<unk> <unk>");
        check("", &[], "");
    }

    #[test]
    fn the_vocabulary_has_no_gaps() {
        assert_eq!(small().vocabulary_size(), 8);
        assert_eq!(small().token_id(END), Some(1));
        assert_eq!(small().token_id(UNKNOWN), Some(0));
    }
}
