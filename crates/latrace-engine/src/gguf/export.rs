//! The metadata of a model folder's tokenizer and chat template.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_lm::checkpoint::gguf::GgufEntry;
use serde_json::{Map, Value};

use super::byte_level::MERGES_KEY;
use super::pre_tokenizer::{PRE_KEY, PreTokenizer};
use super::sentence_piece::{PREFIX_KEY, SCORES_KEY, SPACE};
use super::special::{SPECIALS, TEMPLATE_KEY, adds_key};
use super::vocabulary::{KINDS_KEY, Kind, MODEL_KEY, Model, TOKENS_KEY, filler};
use crate::files::read_json_if_there;
use crate::model_shape::{ModelShape, read_config};
use crate::text_codec::{TextCodec, template_source, token_text};

/// Entries of the metadata.
type Entries = Vec<(String, GgufEntry)>;

/// A folder's tokenizer, and what a model makes of it.
struct Source<'a> {
    folder: &'a Path,
    /// `tokenizer.json`.
    definition: Value,
    /// `tokenizer_config.json`.
    settings: Value,
    /// `config.json` of the model.
    config: Map<String, Value>,
    shape: ModelShape,
    codec: TextCodec,
}

/// The metadata of a tokenizer for a model.
pub(super) fn metadata(model: &Path, tokenizer: &Path) -> Result<Entries> {
    let source = Source::open(model, tokenizer)?;
    let tokens = source.tokens()?;
    let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut entries = vec![("general.name".to_owned(), GgufEntry::Text(name))];
    entries.extend(source.splitting()?);
    entries.extend(source.ends(&tokens)?);
    let template = template_source(tokenizer, &source.settings)?;
    entries.extend(template.map(|template| (TEMPLATE_KEY.to_owned(), GgufEntry::Text(template))));
    let (texts, kinds) = tokens.into_iter().map(|(text, kind)| (text, kind as i32)).unzip();
    entries.push((TOKENS_KEY.to_owned(), GgufEntry::Texts(texts)));
    entries.push((KINDS_KEY.to_owned(), GgufEntry::Integers(kinds)));
    Ok(entries)
}

impl<'a> Source<'a> {
    fn open(model: &Path, folder: &'a Path) -> Result<Source<'a>> {
        let shape = ModelShape::read(model)?;
        let read = |name: &str| read_json_if_there(&folder.join(name));
        let Some(definition) = read("tokenizer.json")? else {
            let message = format!("{} has no tokenizer.json", folder.display());
            return Err(Failure::work(message).hint("give a folder that has one as --tokenizer").into());
        };
        let settings = read("tokenizer_config.json")?.unwrap_or(Value::Null);
        let codec = TextCodec::open(folder, &shape)?;
        Ok(Source { folder, definition, settings, config: read_config(model)?, shape, codec })
    }

    fn refused(&self, part: &str, expected: &str) -> anyhow::Error {
        let message =
            format!("{}: its {part} cannot be written to GGUF", self.folder.join("tokenizer.json").display());
        Failure::work(message).hint(format!("expected {expected}")).into()
    }

    fn model(&self) -> Result<Model> {
        let model = &self.definition["model"];
        match (model["type"].as_str(), model["byte_fallback"].as_bool()) {
            (Some("BPE"), Some(true)) => Ok(Model::SentencePiece),
            (Some("BPE"), _) => Ok(Model::ByteLevel),
            _ => Err(self.refused("model", "byte-pair encoding")),
        }
    }

    /// How texts are split and tokens merged.
    fn splitting(&self) -> Result<Entries> {
        let model = self.model()?;
        let text = |key: &str, text: &str| (key.to_owned(), GgufEntry::Text(text.to_owned()));
        let mut entries = vec![text(MODEL_KEY, model.name())];
        match model {
            Model::ByteLevel => {
                entries.push(text(PRE_KEY, self.pre_tokenizer()?.name()));
                let merges = self.merges()?.into_iter().map(|pair| pair.join(" ")).collect();
                entries.push((MERGES_KEY.to_owned(), GgufEntry::Texts(merges)));
            }
            Model::SentencePiece => {
                entries.push(text(PRE_KEY, PreTokenizer::Unnamed.name()));
                entries.push((PREFIX_KEY.to_owned(), GgufEntry::Flag(self.has_prefix()?)));
                entries.push((SCORES_KEY.to_owned(), GgufEntry::Numbers(self.scores()?)));
            }
        }
        Ok(entries)
    }

    fn pre_tokenizer(&self) -> Result<PreTokenizer> {
        let normal_form = &self.definition["normalizer"];
        if !normal_form.is_null() && normal_form["type"] != "NFC" {
            return Err(self.refused("normalizer", "none or NFC"));
        }
        let known = PreTokenizer::of(&self.definition);
        known.ok_or_else(|| self.refused("pre-tokenizer", "that of GPT-2, SmolLM, Llama 3 or Qwen2"))
    }

    /// Whether a space is put before texts, which two spellings of SentencePiece's rules say in different places.
    fn has_prefix(&self) -> Result<bool> {
        let (normalizer, splitter) = (&self.definition["normalizer"], &self.definition["pre_tokenizer"]);
        if splitter["type"] == "Metaspace" && splitter["split"] == false && normalizer.is_null() {
            return Ok(splitter["prepend_scheme"] != "never");
        }
        let steps = normalizer["normalizers"].as_array().map_or(&[][..], Vec::as_slice);
        let kinds: Vec<_> = steps.iter().filter_map(|step| step["type"].as_str()).collect();
        let replaces = steps.last().is_some_and(|step| step["content"] == SPACE);
        match kinds.as_slice() {
            ["Prepend", "Replace"] if replaces && splitter.is_null() => Ok(true),
            ["Replace"] if replaces && splitter.is_null() => Ok(false),
            _ => Err(self.refused("normalizer", "spaces replaced by ▁, as in Llama 2")),
        }
    }

    /// Merges as pairs; both spellings of `tokenizer.json`.
    fn merges(&self) -> Result<Vec<[String; 2]>> {
        let merges = self.definition["model"]["merges"].as_array();
        let pair = |merge: &Value| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            match merge {
                Value::String(merge) => {
                    merge.split_once(' ').map(|(left, right)| [left, right].map(str::to_owned))
                }
                pair => Some([text(&pair[0])?, text(&pair[1])?]),
            }
        };
        let merges = merges.and_then(|merges| merges.iter().map(pair).collect());
        merges.ok_or_else(|| self.refused("list of merges", "pairs of tokens"))
    }

    /// Scores that lead to the merges in their order: the earlier the first merge that makes a token, the higher.
    fn scores(&self) -> Result<Vec<f32>> {
        let mut ranks = BTreeMap::new();
        for (rank, pair) in self.merges()?.into_iter().enumerate() {
            ranks.entry(pair.concat()).or_insert(rank);
        }
        let last = ranks.len();
        let score = |(text, _): (String, Kind)| -(ranks.get(&text).copied().unwrap_or(last) as f32);
        Ok(self.tokens()?.into_iter().map(score).collect())
    }

    /// A text and a kind for each row of the embedding.
    fn tokens(&self) -> Result<Vec<(String, Kind)>> {
        let rows = 0..self.shape.vocabulary_size;
        let mut tokens: Vec<_> = rows.map(|id| (filler(id), Kind::Unused)).collect();
        let mut put = |text: &str, id: &Value, kind: Kind| {
            let slot = id.as_u64().and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
            slot.map(|slot| *slot = (text.to_owned(), kind))
                .ok_or_else(|| self.refused("vocabulary", "ids of the model"))
        };
        let model = self.model()?;
        for (text, id) in self.definition["model"]["vocab"].as_object().into_iter().flatten() {
            put(text, id, kind_of(text, model))?;
        }
        for added in self.definition["added_tokens"].as_array().into_iter().flatten() {
            put(added["content"].as_str().unwrap_or_default(), &added["id"], self.kind_of_added(added))?;
        }
        Ok(tokens)
    }

    fn kind_of_added(&self, added: &Value) -> Kind {
        let unknown = &self.definition["model"]["unk_token"];
        match added["special"].as_bool() {
            Some(true) if added["content"] == *unknown => Kind::Unknown,
            Some(true) => Kind::Control,
            _ => Kind::UserDefined,
        }
    }

    /// Special tokens, and whether texts begin with one.
    fn ends(&self, tokens: &[(String, Kind)]) -> Result<Entries> {
        let mut entries = Entries::new();
        let mut put = |name: &str, id: Option<u32>| {
            entries.extend(id.map(|id| (format!("tokenizer.ggml.{name}_token_id"), GgufEntry::U32(id))));
            id
        };
        let [begin, end, ..] = SPECIALS.map(|(field, name)| put(name, self.special(field, tokens)));
        // Of several ends, llama.cpp has two keys; others it finds by their names.
        put("eot", self.shape.end_ids.iter().copied().find(|id| Some(*id) != end));
        let begins = match self.codec.begin_ids() {
            [] => false,
            [id] if Some(*id) == begin => true,
            _ => return Err(self.refused("post-processor", "nothing before texts, or bos_token")),
        };
        entries.push((adds_key("bos"), GgufEntry::Flag(begins)));
        Ok(entries)
    }

    /// The id of a special token: by the tokenizer's settings, or else by the model's.
    fn special(&self, field: &str, tokens: &[(String, Kind)]) -> Option<u32> {
        let named = token_text(&self.settings[field]);
        let by_name = tokens.iter().position(|(text, _)| text == named).map(|id| id as u32);
        let of_model = || self.config.get(&format!("{field}_id"))?.as_u64().and_then(|id| id.try_into().ok());
        let first_end = || (field == "eos_token").then(|| self.shape.end_ids.first().copied()).flatten();
        by_name.or_else(of_model).or_else(first_end)
    }
}

fn kind_of(text: &str, model: Model) -> Kind {
    let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
    if model == Model::SentencePiece && is_byte { Kind::Byte } else { Kind::Normal }
}
