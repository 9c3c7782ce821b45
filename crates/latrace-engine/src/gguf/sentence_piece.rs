//! SentencePiece's byte-pair encoding: `tokenizer.json` from the metadata, as transformers converts such models
//! (`LlamaConverter` and `generate_merges` of 5.19, with its setting `legacy`, as in the files that these models are
//! published with).
//!
//! Differs in: control, unknown, unused and byte tokens take part in no merge.

use std::cmp::Ordering;
use std::collections::HashMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::special::post_processor;
use super::vocabulary::{GIVE_TOKENIZER, Kind, Vocabulary, missing};

/// The key of the scores.
pub(super) const SCORES_KEY: &str = "tokenizer.ggml.scores";

/// The key that says whether a space is put before texts.
pub(super) const PREFIX_KEY: &str = "tokenizer.ggml.add_space_prefix";

/// What stands for a space.
pub(super) const SPACE: &str = "▁";

/// `tokenizer.json`.
pub(super) fn definition(vocabulary: &Vocabulary<'_>) -> Result<Value> {
    let prefix = vocabulary.file.flag(PREFIX_KEY)?.unwrap_or(true);
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": vocabulary.added(),
        "normalizer": normalizer(prefix), "pre_tokenizer": null, "post_processor": post_processor(vocabulary)?,
        "decoder": decoder(prefix),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown(vocabulary), "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary.ids(), "merges": merges(vocabulary)?,
        },
    }))
}

fn normalizer(prefix: bool) -> Value {
    let mut steps = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    if prefix {
        steps.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
    }
    json!({"type": "Sequence", "normalizers": steps})
}

fn decoder(prefix: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

fn unknown<'a>(vocabulary: &Vocabulary<'a>) -> Option<&'a str> {
    let at = vocabulary.kinds.iter().position(|&kind| kind == Kind::Unknown)?;
    Some(vocabulary.tokens[at])
}

/// Two tokens that make a third, with what decides about the order.
struct Merge<'a> {
    pair: [&'a str; 2],
    ids: [usize; 2],
    score: f32,
}

impl Merge<'_> {
    /// Higher scores first, then longer parts.
    fn compare(&self, other: &Merge<'_>) -> Ordering {
        let lengths = |merge: &Merge<'_>| merge.pair.map(|part| part.chars().count());
        let scores = other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal);
        scores.then_with(|| lengths(other).cmp(&lengths(self)))
    }
}

/// Every way to make a token of two others, in the order in which SentencePiece would prefer them.
fn merges(vocabulary: &Vocabulary<'_>) -> Result<Vec<Value>> {
    let scores = scores(vocabulary)?;
    let normal = |id: &usize| matches!(vocabulary.kinds[*id], Kind::Normal | Kind::UserDefined);
    let ids = (0..vocabulary.tokens.len()).filter(normal);
    let ids: HashMap<&str, usize> = ids.map(|id| (vocabulary.tokens[id], id)).collect();
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| normal(id)) {
        let mut ways: Vec<Merge<'_>> = ways(&ids, token, scores[id]).collect();
        ways.sort_by_key(|way| way.ids);
        merges.extend(ways);
    }
    merges.sort_by(Merge::compare);
    Ok(merges.into_iter().map(|merge| json!(merge.pair)).collect())
}

fn ways<'a>(ids: &HashMap<&str, usize>, token: &'a str, score: f32) -> impl Iterator<Item = Merge<'a>> {
    let splits = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
    splits.filter_map(move |(left, right)| {
        Some(Merge { pair: [left, right], ids: [*ids.get(left)?, *ids.get(right)?], score })
    })
}

fn scores(vocabulary: &Vocabulary<'_>) -> Result<Vec<f32>> {
    let file = vocabulary.file;
    let scores = file.numbers(SCORES_KEY)?.ok_or_else(|| missing(file, SCORES_KEY))?;
    let (expected, got) = (vocabulary.tokens.len(), scores.len());
    if expected == got {
        return Ok(scores);
    }
    let expected = format!("{expected} values, one for each token");
    Err(file.bad_key(SCORES_KEY, expected, got, GIVE_TOKENIZER).into())
}
