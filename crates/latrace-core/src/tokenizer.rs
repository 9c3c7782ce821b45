//! Text to token ids and back.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder};

use crate::error::{Error, Result};

/// The end token of tokenizers trained here.
pub const END: &str = "<|end|>";

/// A model's tokenizer. It never truncates, pads, or adds special tokens on its own.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocabulary_size: usize,
    begin: Vec<u32>,
    /// Tokens that are one byte each, where the tokenizer falls back on them for what it has no token for.
    bytes: HashSet<u32>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary_size", &self.vocabulary_size).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`. Truncation and padding configured in it are disabled, because
    /// both would silently change rows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tokenizer> {
        let bad = |reason: tokenizers::Error| Error::BadTokenizer {
            bytes: bytes.len(),
            reason: reason.to_string(),
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(bad)?;
        inner.with_truncation(None).map_err(bad)?;
        inner.with_padding(None);
        // Not the number of tokens: ids may have gaps, and a model needs a row for the highest.
        let highest = inner.get_vocab(true).into_values().max();
        let vocabulary_size = highest.map_or(0, |id| id as usize + 1);
        let begin = ids_before_a_text(&inner);
        let bytes = (0..=u8::MAX).filter_map(|byte| inner.token_to_id(&format!("<0x{byte:02X}>"))).collect();
        Ok(Tokenizer { inner, vocabulary_size, begin, bytes })
    }

    /// Trains byte-pair encoding on `texts`, and returns its `tokenizer.json`. Every text can be encoded,
    /// because all bytes are tokens. `specials` and [`END`] are single tokens. The vocabulary has at most
    /// `vocabulary` tokens, but always the bytes and special tokens.
    ///
    /// # Errors
    /// Errors of the tokenizer trainer.
    pub fn train(texts: &[String], vocabulary: usize, specials: &[String]) -> Result<String> {
        let specials = std::iter::once(END)
            .chain(specials.iter().map(String::as_str))
            .map(|text| AddedToken::from(text, true))
            .collect();
        let alphabet = ByteLevel::alphabet().into_iter().collect();
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocabulary)
            .initial_alphabet(alphabet)
            .special_tokens(specials)
            .build();
        // No space before the first word, so that decoding gives exactly the text that was encoded.
        let bytes = ByteLevel::new(false, true, true);
        let builder = TokenizerBuilder::<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>::new();
        let builder = builder
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(bytes))
            .with_post_processor(None)
            .with_decoder(Some(bytes));
        let learnt = builder.build().and_then(|mut tokenizer| {
            tokenizer.train(&mut trainer, texts.iter().map(String::as_str))?.to_string(true)
        });
        learnt.map_err(|reason| Error::Train { texts: texts.len(), reason: reason.to_string() })
    }

    /// The token ids of `text`. Special tokens written out in the text are recognised; none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        // `encode_fast` leaves out the character offsets, which nothing here reads.
        match self.inner.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(reason) => Err(Error::Encode { bytes: text.len(), reason: reason.to_string() }),
        }
    }

    /// The token ids that the tokenizer puts before a text of its own accord, such as that of a begin marker.
    pub fn begin(&self) -> &[u32] {
        &self.begin
    }

    /// The token ids of a prompt that is a text: with [`Tokenizer::begin`], unless the text begins with its tokens
    /// already. Differs from transformers in that and in what follows a text: a prompt never ends with a token that
    /// the tokenizer adds, since a response follows.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.encode(text)?;
        Ok(if ids.starts_with(&self.begin) { ids } else { [self.begin.as_slice(), &ids].concat() })
    }

    /// The text of `ids`, special tokens included. An id that the tokenizer does not know is an error.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let fail = |reason: String| Error::Decode { tokens: ids.len(), reason };
        // The library drops unknown ids without a word.
        if let Some(id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(fail(format!(
                "id {id} is not in the tokenizer (highest id {})",
                self.vocabulary_size.saturating_sub(1)
            )));
        }
        self.inner.decode(ids, false).map_err(|reason| fail(reason.to_string()))
    }

    /// The text of sampled ids, including special tokens. A model may have more embedding rows than its
    /// tokenizer has tokens; the extra ids have no text.
    pub fn decode_drawn(&self, ids: &[u32]) -> Result<String> {
        let known: Vec<u32> =
            ids.iter().copied().filter(|&id| self.inner.id_to_token(id).is_some()).collect();
        self.decode(&known)
    }

    /// Whether a token is one byte of a character, and has a text only together with those beside it.
    pub fn is_byte(&self, id: u32) -> bool {
        self.bytes.contains(&id)
    }

    /// The id of a token by its exact text, if it is one token.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The highest token id plus one, added tokens included. A model needs at least this many embedding rows.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }
}

/// What a tokenizer's post-processor puts before a text. As in transformers 5, nothing but that decides: where there
/// is a `tokenizer.json`, the setting `add_bos_token` of another file is not read.
fn ids_before_a_text(inner: &tokenizers::Tokenizer) -> Vec<u32> {
    let of = |text: &str| {
        let encoding = inner.encode_fast(text, true).ok()?;
        let added = encoding.get_special_tokens_mask().iter().take_while(|is_added| **is_added == 1).count();
        // A text of which nothing is left does not tell what stands before it from what stands behind.
        (added < encoding.len()).then(|| encoding.get_ids()[..added].to_vec())
    };
    ["a", "1"].into_iter().find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and digits as tokens, one special token with a gap before its id, and stored truncation to two
    /// tokens.
    const SMALL: &str = r#"{
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [{"id": 9, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|end|>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [9], "tokens": ["<|end|>"]}}},
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "one": 1, "two": 2, "three": 3, "<|end|>": 9}}
    }"#;

    fn small() -> Tokenizer {
        Tokenizer::from_bytes(SMALL.as_bytes()).unwrap()
    }

    #[test]
    fn encoding_neither_truncates_nor_adds_special_tokens() {
        assert_eq!(small().encode("one two three one").unwrap(), [1, 2, 3, 1]);
        assert_eq!(small().encode("two <|end|>").unwrap(), [2, 9]);
        assert_eq!(small().encode("").unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn decoding_keeps_special_tokens() {
        assert_eq!(small().decode(&[1, 2, 9]).unwrap(), "one two <|end|>");
    }

    #[test]
    fn an_unknown_id_is_an_error_that_names_it() {
        let message = small().decode(&[1, 7]).unwrap_err().to_string();
        assert!(message.contains("id 7"), "{message}");
    }

    #[test]
    fn vocabulary_size_counts_added_tokens_and_gaps() {
        assert_eq!(small().vocabulary_size(), 10);
        assert_eq!(small().token_id("<|end|>"), Some(9));
    }

    #[test]
    fn learnt_byte_pairs_take_any_text_and_are_the_same_each_time() {
        let texts: Vec<String> =
            (0..200).map(|i| format!("there were {i} ducks and {} geese", i * 7)).collect();
        let train = || Tokenizer::train(&texts, 400, &["<think>".to_owned(), "</think>".to_owned()]).unwrap();
        let json = train();
        assert_eq!(json, train());
        let tokenizer = Tokenizer::from_bytes(json.as_bytes()).unwrap();
        assert_eq!(tokenizer.vocabulary_size(), 400);
        for text in ["there were 12 ducks", "ünïcödé \n\t \u{1F986}", "<think>so</think> 42<|end|>"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
        }
        assert_eq!(
            tokenizer.encode("ducks</think><|end|>").unwrap().len()
                - tokenizer.encode("ducks").unwrap().len(),
            2
        );
        assert!(tokenizer.token_id(END).is_some());
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Tokenizer::from_bytes(b"{\"model\": 3").is_err());
    }
}
