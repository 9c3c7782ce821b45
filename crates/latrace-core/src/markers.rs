//! Markers around a thought and an answer, and the boundary of a thought in token ids.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The texts around a trace z and an answer y. A row reads: prompt (which ends with `open`), trace, `close`,
/// `answer_open`, answer, `answer_close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Markers {
    /// After the prompt, before the trace.
    pub open: String,
    /// After the trace.
    pub close: String,
    /// The part of `close` that ends a trace. z ends with it, and y begins with the rest of `close`. A
    /// posterior with different markers needs only this part in common.
    pub cut: String,
    /// Before the answer.
    pub answer_open: String,
    /// After the answer; empty if only the end token ends it.
    pub answer_close: String,
}

impl Markers {
    /// Names of the built-in families.
    pub const NAMES: [&'static str; 3] = ["think", "stratos", "plain"];

    /// A built-in family: `think` (`<think>…</think>`), `stratos` (Bespoke-Stratos' four markers), `plain`
    /// (built-in tasks: words and spaces).
    ///
    /// # Errors
    /// Unknown names, with the known ones.
    pub fn named(name: &str) -> Result<Markers> {
        let markers = |texts: [&str; 5]| {
            let [open, close, cut, answer_open, answer_close] = texts.map(str::to_owned);
            Markers { open, close, cut, answer_open, answer_close }
        };
        match name {
            "think" => Ok(markers(["<think>\n", "\n</think>", "</think>", "\n\n", ""])),
            "stratos" => {
                let close = "\n\n<|end_of_thought|>";
                Ok(markers([
                    "<|begin_of_thought|>\n\n",
                    close,
                    "<|end_of",
                    "\n\n<|begin_of_solution|>\n\n",
                    "\n\n<|end_of_solution|>",
                ]))
            }
            "plain" => Ok(markers(["<think>", " </think>", "</think>", " ", ""])),
            _ => Err(Error::UnknownName {
                what: "marker family",
                name: name.to_owned(),
                known: Self::NAMES.join(", "),
            }),
        }
    }

    /// Checks that z has an end, and not before it begins.
    ///
    /// # Errors
    /// `cut` is empty or not within `close`, or within `open` too.
    pub fn check(&self) -> Result<()> {
        if self.cut.is_empty() || !self.close.contains(&self.cut) {
            return Err(Error::BadMarkers { cut: self.cut.clone(), close: self.close.clone() });
        }
        if self.open.contains(&self.cut) {
            return Err(Error::EqualMarkers { cut: self.cut.clone(), open: self.open.clone() });
        }
        Ok(())
    }

    /// Whether a text ends with the marker that opens a thought. No text does if that marker is empty.
    pub fn opens(&self, text: &str) -> bool {
        self.before_open(text).is_some()
    }

    /// Whether a text holds the marker that opens a thought. No text does if that marker is empty.
    pub fn holds_open(&self, text: &str) -> bool {
        !self.open.trim().is_empty() && text.contains(self.open.trim())
    }

    /// A prompt up to where a thought can be opened: without the marker at its end that opens one, or the empty thought
    /// by which some chat templates keep a model from thinking, with or without its opening marker.
    pub fn before_thought<'a>(&self, prompt: &'a str) -> &'a str {
        match prompt.trim_end().strip_suffix(self.close.trim()) {
            Some(before) => self.before_open(before).unwrap_or(before),
            None => self.before_open(prompt).unwrap_or(prompt),
        }
    }

    fn before_open<'a>(&self, text: &'a str) -> Option<&'a str> {
        // Trimmed: models differ in the white space behind it.
        let open = self.open.trim();
        text.trim_end().strip_suffix(open).filter(|_| !open.is_empty())
    }

    /// The markers that a tokenizer should have as single tokens.
    pub fn specials(&self) -> Vec<String> {
        // Without `cut`, which is a part of `close` and would split it.
        let texts = [&self.open, &self.close, &self.answer_open, &self.answer_close];
        texts.into_iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// Splits a whole response into trace and answer, without markers; `None` if the thought has no end.
    pub fn split<'a>(&self, response: &'a str) -> Option<(&'a str, &'a str)> {
        // Trimmed, like the markers: models differ in the spaces and lines around them.
        let response = response.trim();
        // The prompt may end with `open`, in which case the response does not repeat it.
        let thought = response.strip_prefix(self.open.trim()).unwrap_or(response);
        let (trace, rest) = thought.split_once(self.close.trim())?;
        let answer = rest.trim();
        let answer = answer.strip_prefix(self.answer_open.trim()).unwrap_or(answer);
        let answer = answer.strip_suffix(self.answer_close.trim()).unwrap_or(answer);
        Some((trace.trim(), answer.trim()))
    }

    /// The end of z after the trace's text, and the beginning of y.
    pub fn ends(&self) -> (&str, String) {
        let at = self.close.find(&self.cut).map_or(self.close.len(), |at| at + self.cut.len());
        let (of_trace, rest) = self.close.split_at(at);
        (of_trace, format!("{rest}{}", self.answer_open))
    }
}

/// How many of `ids` belong to z: up to and including the token that completes the first `cut`. `None` if
/// none does.
///
/// `decode` returns the text of ids; it is called O(log n) times.
pub fn boundary(ids: &[u32], cut: &str, decode: impl Fn(&[u32]) -> Option<String>) -> Option<usize> {
    let ended = |tokens: usize| decode(&ids[..tokens]).is_some_and(|text| text.contains(cut));
    if !ended(ids.len()) {
        return None;
    }
    // Binary search is valid because further tokens never remove text that is already complete.
    let (mut open, mut closed) = (0, ids.len());
    while closed - open > 1 {
        let middle = open + (closed - open) / 2;
        if ended(middle) { closed = middle } else { open = middle }
    }
    Some(closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One token per byte, as byte-level tokenizers without merges have it.
    fn bytes(ids: &[u32]) -> Option<String> {
        Some(String::from_utf8_lossy(&ids.iter().map(|&id| id as u8).collect::<Vec<u8>>()).into_owned())
    }

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn a_trace_ends_with_the_first_cut() {
        for name in Markers::NAMES {
            let markers = Markers::named(name).unwrap();
            markers.check().unwrap();
            let (of_trace, rest) = markers.ends();
            assert_eq!(format!("{of_trace}{rest}"), format!("{}{}", markers.close, markers.answer_open));
            let text = format!("why {of_trace}{rest}because {of_trace}");
            assert_eq!(boundary(&ids(&text), &markers.cut, bytes), Some(4 + of_trace.len()), "{name}");
            assert_eq!(boundary(&ids("no end"), &markers.cut, bytes), None);
            assert_eq!(boundary(&[], &markers.cut, bytes), None);
        }
    }

    #[test]
    fn a_response_splits_into_trace_and_answer() {
        for name in Markers::NAMES {
            let markers = Markers::named(name).unwrap();
            let Markers { open, close, answer_open, answer_close, .. } = &markers;
            assert_eq!(
                markers.split(&format!("{open}why{close}{answer_open}so{answer_close}")),
                Some(("why", "so")),
                "{name}"
            );
            assert_eq!(markers.split(&format!("why{close}")), Some(("why", "")), "{name}");
            assert_eq!(markers.split("so"), None);
        }
    }

    #[test]
    fn the_token_that_holds_the_end_of_the_cut_belongs_to_the_trace() {
        let words = ["a", "</th", "ink>b", "c</think>"];
        let decode = |ids: &[u32]| Some(ids.iter().map(|&id| words[id as usize]).collect());
        assert_eq!(boundary(&[0, 1, 2, 0, 3], "</think>", decode), Some(3));
        assert_eq!(boundary(&[3, 0], "</think>", decode), Some(1));
    }

    #[test]
    fn unknown_families_and_cuts_outside_the_close_are_refused() {
        assert!(Markers::named("thing").unwrap_err().to_string().contains("think, stratos, plain"));
        let markers = Markers { cut: "x".to_owned(), ..Markers::named("think").unwrap() };
        assert!(markers.check().is_err());
        let markers = Markers { cut: "think>".to_owned(), ..Markers::named("think").unwrap() };
        assert!(markers.check().unwrap_err().to_string().contains("holds already"));
    }

    #[test]
    fn a_prompt_ends_with_an_open_thought_an_empty_one_or_none() {
        let think = Markers::named("think").unwrap();
        let check = |prompt: &str, before: &str, opens: bool| {
            assert_eq!((think.before_thought(prompt), think.opens(prompt)), (before, opens), "{prompt:?}");
        };
        check("user: q\nassistant:\n", "user: q\nassistant:\n", false);
        check("assistant:\n<think>", "assistant:\n", true);
        check("assistant:\n<think>\n\n", "assistant:\n", true);
        check("assistant:\n<think>\n\n</think>\n\n", "assistant:\n", false);
        check("assistant:</think>", "assistant:", false);
        check("<think>why</think>\nassistant: ", "<think>why</think>\nassistant: ", false);
        assert!(think.holds_open("so <think> why") && !think.holds_open("so why</think>"));
        let unopened = Markers { open: String::new(), ..think };
        assert_eq!(unopened.before_thought("assistant:\n"), "assistant:\n");
        assert!(!unopened.opens("assistant:\n") && !unopened.holds_open("why"));
    }

    proptest! {
        #[test]
        fn the_boundary_is_where_reading_token_by_token_finds_it(text in "[a<>/é ]{0,40}(</t>)?[a</t>é]{0,20}") {
            let all = ids(&text);
            let slow = (1..=all.len()).find(|&tokens| bytes(&all[..tokens]).is_some_and(|text| text.contains("</t>")));
            prop_assert_eq!(boundary(&all, "</t>", bytes), slow);
        }
    }
}
