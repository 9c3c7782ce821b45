//! Stop texts, which may end anywhere within a token.

use crate::text_codec::TextCodec;

/// The texts, and the number of last tokens that can contain the longest of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopTexts {
    texts: Vec<String>,
    /// A token has at least one byte, except those without text; a few more cover characters split over
    /// tokens.
    window: usize,
}

impl StopTexts {
    /// The texts, none of them empty.
    pub fn new(texts: Vec<String>) -> StopTexts {
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        // Only the tail is decoded: decoding a whole sample after each of its tokens would be quadratic.
        StopTexts { texts, window: longest + 8 }
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// How many last tokens can contain the longest of them.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Whether the last of the tokens completes one of the texts.
    pub fn found(&self, tokens: &[u32], text: &TextCodec) -> bool {
        // Without texts to look for, the tokens are not even decoded.
        if self.is_empty() {
            return false;
        }
        let is_within = |tokens: &[u32]| text.decode(tokens).is_some_and(|text| self.is_in(&text));
        let tail = self.tail(tokens, text);
        // What the tail says is true of it alone: without what stands before them, tokens may decode to another text.
        is_within(tail) && (tail.len() == tokens.len() || is_within(tokens))
    }

    /// The last tokens, among which a text stands that has just been completed. They begin with no part of a run of
    /// bytes, which decode together: cut off, valid bytes become invalid, and the other way round.
    fn tail<'a>(&self, tokens: &'a [u32], text: &TextCodec) -> &'a [u32] {
        let mut start = tokens.len().saturating_sub(self.window);
        while start > 0 && text.is_byte(tokens[start]) && text.is_byte(tokens[start - 1]) {
            start -= 1;
        }
        &tokens[start..]
    }

    fn is_in(&self, text: &str) -> bool {
        self.texts.iter().any(|stop| text.contains(stop))
    }

    /// The text up to the first stop, with or without it.
    pub fn cut<'a>(&self, text: &'a str, include: bool) -> &'a str {
        let ends = self
            .texts
            .iter()
            .filter_map(|stop| text.find(stop).map(|at| if include { at + stop.len() } else { at }));
        // The text that comes first, not the one that is listed first.
        ends.min().map_or(text, |end| &text[..end])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ModelShape;

    #[test]
    fn the_first_stop_cuts() {
        let stops = StopTexts::new(vec!["</x>".to_owned(), "\n\n".to_owned()]);
        assert_eq!(stops.cut("a\n\nb</x>", false), "a");
        assert_eq!(stops.cut("a</x>b\n\n", true), "a</x>");
        assert_eq!(stops.cut("abc", false), "abc");
    }

    /// A tokenizer with a token for each byte, and words, as those of Llama 2.
    fn byte_fallback() -> TextCodec {
        let mut vocabulary: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        vocabulary.extend(["▁stop", "st", "op", "▁a", "(", "▁"].map(str::to_owned));
        let ids: serde_json::Map<_, _> =
            vocabulary.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [],
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
            "model": {"type": "BPE", "byte_fallback": true, "vocab": ids, "merges": []},
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let shape = ModelShape { vocabulary_size: 262, positions: 9, end_ids: vec![] };
        TextCodec::open(folder.path(), &shape).unwrap()
    }

    static BYTE_FALLBACK: LazyLock<TextCodec> = LazyLock::new(byte_fallback);

    /// By its definition: the text of all tokens holds a stop.
    fn found_reference(stops: &StopTexts, tokens: &[u32], text: &TextCodec) -> bool {
        text.decode(tokens).is_some_and(|text| stops.is_in(&text))
    }

    #[test]
    fn bytes_that_are_no_text_hide_no_stop_and_make_none() {
        let (text, stops) = (&*BYTE_FALLBACK, StopTexts::new(vec!["(".to_owned()]));
        let [open, euro, far] = [vec![0x28], vec![0xe2, 0x82, 0xac], vec![259; 9]];
        // The run is no UTF-8, so that none of its bytes is a bracket, although the last nine alone hold one.
        let broken = [vec![0xff], vec![0x41; 8], open.clone()].concat();
        assert!(!found_reference(&stops, &broken, text) && !stops.found(&broken, text));
        // The run is UTF-8, although cut off within a character it is not.
        let whole = [euro.repeat(4), open.clone()].concat();
        assert!(found_reference(&stops, &whole, text) && stops.found(&whole, text));
        assert!(stops.found(&[far.clone(), open.clone()].concat(), text));
        assert!(!stops.found(&[open, far].concat()[1..], text));
    }

    proptest! {
        #[test]
        fn stops_are_found_where_the_whole_text_holds_them(
            tokens in vec(prop_oneof![
                Just(0x28_u32), Just(0xe2), Just(0x82), Just(0xac), Just(0x41), Just(0x0a), 256_u32..262
            ], 1..60),
            texts in vec(prop_oneof![
                Just("stop"), Just("("), Just("\n\n"), Just("€("), Just("a("), Just("AA"), Just(" "), Just("A\n")
            ], 1..3),
        ) {
            let text = &*BYTE_FALLBACK;
            let stops = StopTexts::new(texts.into_iter().map(str::to_owned).collect());
            // As a sampler looks, after each token, up to the first that ends the sample.
            let first = |found: &dyn Fn(&[u32]) -> bool| (1..=tokens.len()).find(|&count| found(&tokens[..count]));
            let expected = first(&|tokens| found_reference(&stops, tokens, text));
            prop_assert_eq!(first(&|tokens| stops.found(tokens, text)), expected);
        }
    }
}
