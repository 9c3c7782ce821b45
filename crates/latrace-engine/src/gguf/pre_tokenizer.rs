//! How byte-level tokenizers split a text before they merge bytes: llama.cpp's names for it, and the same in
//! `tokenizer.json`.

use latrace_lm::Error;
use latrace_lm::checkpoint::gguf::GgufFile;
use serde_json::{Value, json};

use super::vocabulary::GIVE_TOKENIZER;

/// A way to split texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreTokenizer {
    /// What llama.cpp does for files that name none: punctuation, words, runs of digits, three digits at a time.
    Unnamed,
    /// GPT-2's expression.
    Gpt2,
    /// Digits one by one, then GPT-2's expression.
    SmolLm,
    /// Llama 3: digits in threes; whole words that are tokens are not merged.
    Llama3,
    /// Qwen2 and later: digits one by one, normal form C.
    Qwen2,
}

/// The key of the name.
pub(super) const PRE_KEY: &str = "tokenizer.ggml.pre";

/// Names in llama.cpp, the first for each being the one that is written.
const NAMES: [(PreTokenizer, &[&str]); 5] = [
    (PreTokenizer::Unnamed, &["default"]),
    (PreTokenizer::Gpt2, &["gpt-2"]),
    (PreTokenizer::SmolLm, &["smollm", "starcoder"]),
    (PreTokenizer::Llama3, &["llama-bpe", "llama3", "llama-v3"]),
    (PreTokenizer::Qwen2, &["qwen2", "deepseek-r1-qwen"]),
];

/// GPT-2's expression without its last branch, white space before the end, which splitting leaves over anyway.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl PreTokenizer {
    /// Reads the name in a file's metadata.
    pub fn read(file: &GgufFile) -> Result<PreTokenizer, Error> {
        let Some(name) = file.text(PRE_KEY)? else { return Ok(PreTokenizer::Unnamed) };
        let known = NAMES.iter().find(|(_, names)| names.contains(&name));
        known.map(|(pre_tokenizer, _)| *pre_tokenizer).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
            file.bad_key(PRE_KEY, format!("one of {}", names.join(", ")), name, GIVE_TOKENIZER)
        })
    }

    /// The name in llama.cpp.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(pre_tokenizer, _)| *pre_tokenizer == self)
            .map_or("default", |(_, names)| names[0])
    }

    /// The one that a `tokenizer.json` describes, if it is known.
    pub fn of(definition: &Value) -> Option<PreTokenizer> {
        let steps = steps(&definition["pre_tokenizer"]);
        NAMES.into_iter().map(|(known, _)| known).find(|known| {
            // Not a matter of the normal form, which llama.cpp never makes.
            known.steps() == steps && known.ignores_merges() == flag(&definition["model"]["ignore_merges"])
        })
    }

    /// `pre_tokenizer` of `tokenizer.json`.
    pub fn definition(self) -> Value {
        match self {
            PreTokenizer::Gpt2 => byte_level(true),
            PreTokenizer::SmolLm => {
                sequence([json!({"type": "Digits", "individual_digits": true}), byte_level(true)])
            }
            PreTokenizer::Llama3 => sequence([split(LLAMA3), byte_level(false)]),
            PreTokenizer::Qwen2 => sequence([split(QWEN2), byte_level(false)]),
            PreTokenizer::Unnamed => sequence([
                split(r"[\p{P}\$\+<=>\^~\|]+"),
                split(GPT2),
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
                byte_level(false),
            ]),
        }
    }

    /// `normalizer` of `tokenizer.json`.
    pub fn normalizer(self) -> Value {
        if self == PreTokenizer::Qwen2 { json!({"type": "NFC"}) } else { Value::Null }
    }

    /// Whether a word that is a token is taken as it is, whatever merges lead to it.
    pub fn ignores_merges(self) -> bool {
        self == PreTokenizer::Llama3
    }

    /// Whether texts begin with the begin token where the metadata do not say.
    pub fn adds_begin(self) -> bool {
        self == PreTokenizer::Llama3
    }

    fn steps(self) -> Vec<String> {
        steps(&self.definition())
    }
}

fn sequence<const N: usize>(steps: [Value; N]) -> Value {
    json!({"type": "Sequence", "pretokenizers": Vec::from(steps)})
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

/// The steps of a pre-tokenizer, without the settings that have no effect on ids.
fn steps(pre_tokenizer: &Value) -> Vec<String> {
    match pre_tokenizer["pretokenizers"].as_array() {
        Some(steps) => steps.iter().map(step).collect(),
        None => vec![step(pre_tokenizer)],
    }
}

fn step(step: &Value) -> String {
    let kind = step["type"].as_str().unwrap_or_default();
    let settings = match kind {
        "Digits" => vec![&step["individual_digits"]],
        "ByteLevel" => vec![&step["add_prefix_space"], &step["use_regex"]],
        "Split" => vec![&step["pattern"], &step["behavior"], &step["invert"]],
        _ => vec![step],
    };
    format!("{kind} {settings:?}")
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}
