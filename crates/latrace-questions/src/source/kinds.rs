//! Kinds of verifiers for the rows of mixed data sets, where rows do not say their kind: by what the source or the
//! question begins with.
//!
//! Bespoke-Stratos, the paper's data, mixes mathematics (numina) and programs (APPS, TACO) and has no column that
//! tells them apart: its programs are asked for by a sentence of their own, which the defaults know.

use std::collections::BTreeMap;

use latrace_core::Question;
use serde::Serialize;

/// What decided a question's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KindBy {
    /// The row's own `kind`.
    Row,
    /// The beginning of the row's `source`, or of its id.
    Source,
    /// The beginning of the question.
    Question,
    /// None of these: the kind of all other rows.
    Default,
}

/// The rules by which rows without a `kind` get one. Each table is from a beginning to a kind; the longest that fits
/// decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct KindRules<'a> {
    /// Beginnings of a source or an id.
    pub(super) sources: &'a BTreeMap<String, String>,
    /// Beginnings of a question.
    pub(super) questions: &'a BTreeMap<String, String>,
    /// The kind of all other rows.
    pub(super) default: &'a str,
}

impl KindRules<'_> {
    /// The kind of a question, and what decided it. `id` is the row's own id, if it has one.
    pub(super) fn kind(&self, question: &Question, id: Option<&str>) -> (String, KindBy) {
        if let Some(kind) = &question.kind {
            return (kind.clone(), KindBy::Row);
        }
        let of_source = question.source.as_deref().and_then(|source| longest(self.sources, source));
        if let Some(kind) = of_source.or_else(|| longest(self.sources, id?)) {
            return (kind.to_owned(), KindBy::Source);
        }
        match longest(self.questions, question.question.trim_start()) {
            Some(kind) => (kind.to_owned(), KindBy::Question),
            None => (self.default.to_owned(), KindBy::Default),
        }
    }
}

/// The kind of the longest beginning that `text` has, in letters of either case.
fn longest<'a>(kinds: &'a BTreeMap<String, String>, text: &str) -> Option<&'a str> {
    let fits = |(beginning, _): &(&String, &String)| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    let fitting = kinds.iter().filter(fits).max_by_key(|(beginning, _)| beginning.len());
    fitting.map(|(_, kind)| kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(from, kind)| ((*from).to_owned(), (*kind).to_owned())).collect()
    }

    #[track_caller]
    fn check(question: &Question, id: Option<&str>, expected: (&str, KindBy)) {
        let sources = table(&[("taco", "code"), ("taco/words", "text"), ("apps", "code")]);
        let questions = table(&[("Write a program", "code")]);
        let rules = KindRules { sources: &sources, questions: &questions, default: "math" };
        assert_eq!(rules.kind(question, id), (expected.0.to_owned(), expected.1));
    }

    #[test]
    fn the_row_then_its_source_then_its_question_decides() {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let question = |kind, source, question: &str| Question {
            kind: text(kind),
            source: text(source),
            question: question.to_owned(),
            ..Question::default()
        };
        let program = "\n write a PROGRAM that";
        check(&question(Some("text"), Some("taco"), program), Some("apps-1"), ("text", KindBy::Row));
        check(&question(None, Some("TACO/3"), "1 + 1"), None, ("code", KindBy::Source));
        check(&question(None, Some("taco/words/3"), program), None, ("text", KindBy::Source));
        check(&question(None, Some("numina"), "1 + 1"), Some("apps-1"), ("code", KindBy::Source));
        check(&question(None, Some("numina"), program), Some("7"), ("code", KindBy::Question));
        check(&question(None, None, "Do not write a program"), None, ("math", KindBy::Default));
        // A beginning that ends within a letter of the text does not fit, and does not panic.
        check(&question(None, Some("tacé"), "wr"), None, ("math", KindBy::Default));
    }
}
