//! Special tokens: what texts begin and end with, and `tokenizer_config.json`.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::pre_tokenizer::PreTokenizer;
use super::vocabulary::{GIVE_TOKENIZER, Model, Vocabulary};

/// The key of the chat template.
pub(super) const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// (name in `tokenizer_config.json`, name in the metadata).
pub(super) const SPECIALS: [(&str, &str); 4] =
    [("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")];

/// The key that says whether texts begin (`bos`) or end (`eos`) with a token.
pub(super) fn adds_key(name: &str) -> String {
    format!("tokenizer.ggml.add_{name}_token")
}

/// `post_processor` of `tokenizer.json`: what stands before and behind a text.
pub(super) fn post_processor(vocabulary: &Vocabulary<'_>) -> Result<Value> {
    let [begin, end] = [added(vocabulary, "bos")?, added(vocabulary, "eos")?];
    if begin.is_none() && end.is_none() {
        return Ok(Value::Null);
    }
    let special = |token: &Option<(u64, &str)>, kind: u8| {
        token.map(|(_, token)| json!({"SpecialToken": {"id": token, "type_id": kind}}))
    };
    let text = |name: &str, kind: u8| {
        let text = json!({"Sequence": {"id": name, "type_id": kind}});
        special(&begin, kind).into_iter().chain([text]).chain(special(&end, kind)).collect::<Vec<_>>()
    };
    let known = begin.iter().chain(&end);
    let known =
        known.map(|(id, token)| ((*token).to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})));
    let pair = [text("A", 0), text("B", 1)].concat();
    Ok(json!({
        "type": "TemplateProcessing", "single": text("A", 0), "pair": pair,
        "special_tokens": known.collect::<Map<_, _>>(),
    }))
}

/// The token `name` if texts get it.
fn added<'a>(vocabulary: &Vocabulary<'a>, name: &str) -> Result<Option<(u64, &'a str)>> {
    if !adds(vocabulary, name)? {
        return Ok(None);
    }
    let token = vocabulary.special(name)?.ok_or_else(|| {
        let key = format!("tokenizer.ggml.{name}_token_id");
        vocabulary.file.bad_key(&key, "an id, since texts get this token", "nothing", GIVE_TOKENIZER)
    })?;
    Ok(Some(token))
}

fn adds(vocabulary: &Vocabulary<'_>, name: &str) -> Result<bool> {
    if let Some(adds) = vocabulary.file.flag(&adds_key(name))? {
        return Ok(adds);
    }
    // As in llama.cpp.
    Ok(name == "bos"
        && match vocabulary.model {
            Model::SentencePiece => true,
            Model::ByteLevel => PreTokenizer::read(vocabulary.file)?.adds_begin(),
        })
}

/// `tokenizer_config.json`.
pub(super) fn settings(vocabulary: &Vocabulary<'_>) -> Result<Value> {
    let mut settings = Map::from_iter([
        ("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast")),
        ("clean_up_tokenization_spaces".to_owned(), json!(false)),
        ("add_bos_token".to_owned(), json!(adds(vocabulary, "bos")?)),
        ("add_eos_token".to_owned(), json!(adds(vocabulary, "eos")?)),
    ]);
    for (name, stored) in SPECIALS {
        let token = vocabulary.special(stored)?;
        settings.extend(token.map(|(_, token)| (name.to_owned(), json!(token))));
    }
    let template = vocabulary.file.text(TEMPLATE_KEY)?;
    settings.extend(template.map(|template| ("chat_template".to_owned(), json!(template))));
    Ok(Value::Object(settings))
}
