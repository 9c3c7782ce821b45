//! What the posterior sees as the hint y' of a training question: the question's own, a part of it, or another's.
//! How much the method needs of its hints is measured with these.

use latrace_core::random::{stream, uniform};
use latrace_core::{Question, Split};
use serde::{Deserialize, Serialize};

/// Which hint a training question gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HintKind {
    /// Its own, whole.
    Own,
    /// The first words of its own, so many that they are the given share of them.
    Partial,
    /// Its own or, with the given probability, another question's.
    Noisy,
    /// Another question's.
    Wrong,
}

/// Replaces the hints of training questions; `share` is that of the kind, in [0, 1].
///
/// Each question's draw is keyed by its id, so that it does not depend on the others' order.
pub fn set_hints(questions: &mut [(Split, Question)], kind: HintKind, share: f64, seed: u64) {
    if kind == HintKind::Own {
        return;
    }
    let own: Vec<Option<String>> = questions.iter().map(training_hint).collect();
    let hints: Vec<&str> = own.iter().flatten().map(String::as_str).collect();
    for ((_, question), own) in questions.iter_mut().zip(&own) {
        let Some(own) = own.as_deref() else { continue };
        let draws = stream(seed, "hints", &question.id, 0);
        question.hint = Some(match kind {
            HintKind::Partial => first_words(own, share).to_owned(),
            HintKind::Noisy if uniform(draws, 0) >= share => own.to_owned(),
            HintKind::Own | HintKind::Noisy | HintKind::Wrong => another(own, &hints, draws).to_owned(),
        });
    }
}

/// The hint of a training question; the other splits are for evaluation, which sees none.
fn training_hint((split, question): &(Split, Question)) -> Option<String> {
    question.hint().filter(|_| *split == Split::Train).map(str::to_owned)
}

/// The first of a text's words, with the white space between them as it is.
fn first_words(text: &str, share: f64) -> &str {
    let words = text.split_whitespace().count();
    let kept = (words as f64 * share).round() as usize;
    let end = text.split_whitespace().nth(kept).map(|next| next.as_ptr() as usize - text.as_ptr() as usize);
    text[..end.unwrap_or(text.len())].trim_end()
}

/// Draws of another hint until one differs: answers may be few, such as yes and no, but are rarely all the same.
const TRIES: usize = 64;

/// A hint that differs from `own`, drawn uniformly; `own` if none is found.
fn another<'a>(own: &'a str, hints: &[&'a str], draws: u64) -> &'a str {
    let draw = |attempt: usize| hints[(uniform(draws, attempt) * hints.len() as f64) as usize];
    (1..=TRIES).map(draw).find(|hint| *hint != own).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(hints: &[&str]) -> Vec<(Split, Question)> {
        let question = |(at, hint): (usize, &&str)| {
            let row = serde_json::json!({"id": at.to_string(), "question": "q", "answer": hint});
            (Split::Train, serde_json::from_value(row).unwrap())
        };
        hints.iter().enumerate().map(question).collect()
    }

    fn hints(of: &[&str], kind: HintKind, share: f64) -> Vec<String> {
        let mut questions = questions(of);
        set_hints(&mut questions, kind, share, 7);
        questions.iter().map(|(_, question)| question.hint().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_partial_hint_is_the_beginning_of_the_own_one() {
        let of = ["one two  three four", "five"];
        assert_eq!(hints(&of, HintKind::Own, 0.0), of);
        assert_eq!(hints(&of, HintKind::Partial, 1.0), of);
        assert_eq!(hints(&of, HintKind::Partial, 0.75), ["one two  three", "five"]);
        assert_eq!(hints(&of, HintKind::Partial, 0.0), ["", ""]);
    }

    #[test]
    fn a_wrong_hint_is_another_questions() {
        let numbers: Vec<String> = (0..50).map(|number: u32| number.to_string()).collect();
        let of: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let wrong = hints(&of, HintKind::Wrong, 0.0);
        assert!(wrong.iter().zip(&of).all(|(got, own)| got != own && of.contains(&got.as_str())));
        assert!(wrong.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "{wrong:?}");
        assert_eq!(hints(&["same", "same"], HintKind::Wrong, 0.0), ["same", "same"]);
        let noisy = hints(&of, HintKind::Noisy, 0.4);
        let replaced = noisy.iter().zip(&of).filter(|(got, own)| got != *own).count();
        assert!((10..30).contains(&replaced), "{replaced} of 50 at a chance of 0.4");
        assert_eq!(hints(&of, HintKind::Noisy, 0.0), of);
    }

    #[test]
    fn held_out_questions_keep_their_hints() {
        let mut all = questions(&["a", "b", "c"]);
        all[1].0 = Split::Test;
        set_hints(&mut all, HintKind::Wrong, 0.0, 7);
        let hints: Vec<&str> = all.iter().map(|(_, question)| question.hint().unwrap()).collect();
        assert_eq!(hints, ["c", "b", "a"]);
    }
}
