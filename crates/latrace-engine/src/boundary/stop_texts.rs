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
        !self.is_empty() && text.decode(self.tail(tokens)).is_some_and(|tail| self.is_in(&tail))
    }

    /// The last tokens, among which a text stands that has just been completed.
    fn tail<'a>(&self, tokens: &'a [u32]) -> &'a [u32] {
        &tokens[tokens.len().saturating_sub(self.window)..]
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
    use super::*;

    #[test]
    fn the_first_stop_cuts() {
        let stops = StopTexts::new(vec!["</x>".to_owned(), "\n\n".to_owned()]);
        assert_eq!(stops.cut("a\n\nb</x>", false), "a");
        assert_eq!(stops.cut("a</x>b\n\n", true), "a</x>");
        assert_eq!(stops.cut("abc", false), "abc");
    }
}
