//! Byte-pair encoding over bytes: `tokenizer.json` from the metadata.

use anyhow::Result;
use serde_json::{Value, json};

use super::pre_tokenizer::PreTokenizer;
use super::special::post_processor;
use super::vocabulary::{GIVE_TOKENIZER, Vocabulary, missing};

/// The key of the merges.
pub(super) const MERGES_KEY: &str = "tokenizer.ggml.merges";

/// `tokenizer.json`.
pub(super) fn definition(vocabulary: &Vocabulary<'_>) -> Result<Value> {
    let pre_tokenizer = PreTokenizer::read(vocabulary.file)?;
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": vocabulary.added(),
        "normalizer": pre_tokenizer.normalizer(), "pre_tokenizer": pre_tokenizer.definition(),
        "post_processor": post_processor(vocabulary)?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre_tokenizer.ignores_merges(), "vocab": vocabulary.ids(),
            "merges": merges(vocabulary)?,
        },
    }))
}

/// Merges as pairs of tokens.
fn merges(vocabulary: &Vocabulary<'_>) -> Result<Vec<Value>> {
    let file = vocabulary.file;
    let merges = file.texts(MERGES_KEY)?.ok_or_else(|| missing(file, MERGES_KEY))?;
    let pair = |merge: &str| {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            let expected = "two tokens with a space between them";
            file.bad_key(MERGES_KEY, expected, format!("{merge:?}"), GIVE_TOKENIZER)
        })?;
        Ok(json!([left, right]))
    };
    merges.into_iter().map(pair).collect()
}
