//! The tokens of a GGUF file and what they are.

use std::collections::HashSet;

use latrace_lm::Error;
use latrace_lm::checkpoint::gguf::GgufFile;
use serde_json::{Map, Value, json};

/// The tokenizer's part of the metadata.
pub(super) struct Vocabulary<'a> {
    pub file: &'a GgufFile,
    pub model: Model,
    /// The tokens by id.
    pub tokens: Vec<&'a str>,
    /// What each of them is.
    pub kinds: Vec<Kind>,
}

/// The kinds of tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// Byte-pair encoding over bytes, as in GPT-2.
    ByteLevel,
    /// SentencePiece's byte-pair encoding: scores instead of merges, bytes as a last resort.
    SentencePiece,
}

/// The kinds of tokens, by llama.cpp's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    /// Taken out of a text as a whole, like a control token, but part of it.
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// What helps with every tokenizer that is not supported.
pub(super) const GIVE_TOKENIZER: &str = "give a folder with the model's tokenizer.json as --tokenizer";

pub(super) const MODEL_KEY: &str = "tokenizer.ggml.model";
pub(super) const TOKENS_KEY: &str = "tokenizer.ggml.tokens";
pub(super) const KINDS_KEY: &str = "tokenizer.ggml.token_type";

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Normal, Kind::Unknown, Kind::Control, Kind::UserDefined, Kind::Unused, Kind::Byte];

    fn numbered(number: i64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&kind| kind as i64 == number)
    }
}

impl Model {
    /// Its name in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Model::ByteLevel => "gpt2",
            Model::SentencePiece => "llama",
        }
    }
}

impl<'a> Vocabulary<'a> {
    /// Reads and checks it.
    pub fn read(file: &'a GgufFile) -> Result<Vocabulary<'a>, Error> {
        let model = read_model(file)?;
        let tokens = file.texts(TOKENS_KEY)?.ok_or_else(|| missing(file, TOKENS_KEY))?;
        let kinds = read_kinds(file, tokens.len())?;
        check_distinct(file, &tokens)?;
        Ok(Vocabulary { file, model, tokens, kinds })
    }

    /// Tokens by text. Those that fill up the embedding are left out: no text contains them.
    pub fn ids(&self) -> Map<String, Value> {
        let tokens = self.tokens.iter().zip(&self.kinds).enumerate();
        let used = tokens.filter(|(id, (token, kind))| **kind != Kind::Unused || **token != filler(*id));
        used.map(|(id, (token, _))| ((*token).to_owned(), json!(id))).collect()
    }

    /// The tokens that are taken out of texts as a whole.
    pub fn added(&self) -> Vec<Value> {
        let added = |(id, (token, kind)): (usize, (&&str, &Kind))| match kind {
            Kind::Control | Kind::Unknown => Some(added_token(id, token, true)),
            Kind::UserDefined => Some(added_token(id, token, false)),
            Kind::Normal | Kind::Unused | Kind::Byte => None,
        };
        self.tokens.iter().zip(&self.kinds).enumerate().filter_map(added).collect()
    }

    /// The text of a special token, if the metadata name it.
    pub fn special(&self, name: &str) -> Result<Option<(u64, &'a str)>, Error> {
        let Some(id) = self.file.token_id(name)? else { return Ok(None) };
        match usize::try_from(id).ok().and_then(|id| self.tokens.get(id)) {
            Some(token) => Ok(Some((id, token))),
            None => {
                let expected = format!("an id below {}", self.tokens.len());
                Err(self.file.bad_key(
                    &format!("tokenizer.ggml.{name}_token_id"),
                    expected,
                    id,
                    GIVE_TOKENIZER,
                ))
            }
        }
    }
}

/// What llama.cpp's conversion calls the rows of the embedding that have no token.
pub(super) fn filler(id: usize) -> String {
    format!("[PAD{id}]")
}

fn added_token(id: usize, token: &str, special: bool) -> Value {
    json!({
        "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": special,
    })
}

/// An error about a list that must be there.
pub(super) fn missing(file: &GgufFile, key: &str) -> Error {
    file.bad_key(key, "a list", "nothing", GIVE_TOKENIZER)
}

fn read_model(file: &GgufFile) -> Result<Model, Error> {
    let named = file.text(MODEL_KEY)?;
    let known = [Model::ByteLevel, Model::SentencePiece];
    let model = known.into_iter().find(|model| named == Some(model.name()));
    model.ok_or_else(|| {
        let expected = known.map(Model::name).join(" or ");
        file.bad_key(MODEL_KEY, expected, named.unwrap_or("nothing"), GIVE_TOKENIZER)
    })
}

/// As in llama.cpp, tokens of no kind are normal ones.
fn read_kinds(file: &GgufFile, tokens: usize) -> Result<Vec<Kind>, Error> {
    let Some(numbers) = file.integers(KINDS_KEY)? else { return Ok(vec![Kind::Normal; tokens]) };
    if numbers.len() != tokens {
        let expected = format!("{tokens} values, one for each token");
        return Err(file.bad_key(KINDS_KEY, expected, numbers.len(), GIVE_TOKENIZER));
    }
    let kind = |number| {
        Kind::numbered(number)
            .ok_or_else(|| file.bad_key(KINDS_KEY, "values from 1 to 6", number, GIVE_TOKENIZER))
    };
    numbers.into_iter().map(kind).collect()
}

fn check_distinct(file: &GgufFile, tokens: &[&str]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    match tokens.iter().find(|token| !seen.insert(**token)) {
        None => Ok(()),
        Some(token) => {
            Err(file.bad_key(TOKENS_KEY, "each token once", format!("{token:?} twice"), GIVE_TOKENIZER))
        }
    }
}
