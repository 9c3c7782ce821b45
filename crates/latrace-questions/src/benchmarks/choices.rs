//! Options of multiple-choice questions, in an order derived from the question, so that the authors'
//! preference for a letter has no effect.

use latrace_core::random::stream;
use latrace_objective::Rng;

/// A fixed seed, not the run's, so that all models see the same question.
const SEED: u64 = 0;

/// Options as shown, and the letter of the correct one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Options, A first.
    pub options: Vec<String>,
    /// The correct one's letter.
    pub right: char,
}

/// Maximum number of options: one per letter.
pub const MOST: usize = 26;

/// Shuffles options published in a fixed order. If an option refers to others by letter, such as "both A and
/// B", the published order is kept; an option that refers to those above it keeps its position.
pub fn shuffled(published: Vec<String>, right: usize, question: &str) -> Choices {
    let places: Vec<usize> = match published.iter().any(|option| names_letters(option)) {
        true => Vec::new(),
        false => (0..published.len()).filter(|&place| !points_up(&published[place])).collect(),
    };
    arrange(published, right, &places, question)
}

/// Shuffles options published without an order: the correct one and the wrong ones. Those that refer to
/// others above them come last.
pub fn mixed(right: String, wrong: Vec<String>, question: &str) -> Choices {
    let wrong = wrong.into_iter().map(|option| (false, option));
    let all = std::iter::once((true, right)).chain(wrong);
    let (last, mut free): (Vec<_>, Vec<_>) = all.partition(|(_, option)| points_up(option));
    let places: Vec<usize> = (0..free.len()).collect();
    free.extend(last);
    let right = free.iter().position(|(is_right, _)| *is_right).unwrap_or(0);
    arrange(free.into_iter().map(|(_, option)| option).collect(), right, &places, question)
}

/// Shuffles the options at `places` among themselves, seeded by the question.
fn arrange(published: Vec<String>, right: usize, places: &[usize], question: &str) -> Choices {
    let from = permutation(published.len(), places, question);
    let right = letter(from.iter().position(|&place| place == right).unwrap_or(0));
    Choices { options: from.into_iter().map(|place| published[place].clone()).collect(), right }
}

/// Where each of `count` options comes from.
fn permutation(count: usize, places: &[usize], question: &str) -> Vec<usize> {
    let mut rng = Rng::new(stream(SEED, "options", question, 0));
    let mut from: Vec<usize> = (0..count).collect();
    // Fisher-Yates, over the free places alone.
    for last in (1..places.len()).rev() {
        from.swap(places[last], places[rng.below(last + 1)]);
    }
    from
}

/// The letter of an index.
pub fn letter(place: usize) -> char {
    char::from(b'A' + (place % MOST) as u8)
}

/// Whether an option refers to others by letter: "A and C", "either (A) or (B)".
fn names_letters(option: &str) -> bool {
    let words = words(option);
    words.windows(3).any(|words| is_letter(words[0]) && is_conjunction(words[1]) && is_letter(words[2]))
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn is_letter(word: &str) -> bool {
    // Only a capital: "a" is an article.
    word.len() == 1 && word.starts_with(|c: char| c.is_ascii_uppercase())
}

fn is_conjunction(word: &str) -> bool {
    ["and", "or"].contains(&word)
}

/// How options refer to those above them, in the data sets of the built-in benchmarks.
const UPWARD: [&str; 6] =
    ["of the above", "of above", "all the above", "both the above", "the above methods", "listed above"];

/// Whether an option refers to those above it.
fn points_up(option: &str) -> bool {
    let lower = option.to_lowercase();
    UPWARD.iter().any(|words| lower.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(options: &[&str]) -> Vec<String> {
        options.iter().map(|option| (*option).to_owned()).collect()
    }

    #[test]
    fn the_right_letter_follows_its_option_and_every_letter_comes_up() {
        let published = ["red", "green", "blue", "white"];
        let mut counts = [0; 4];
        for question in 0..400 {
            let choices = shuffled(texts(&published), 2, &format!("question {question}"));
            let place = (choices.right as u8 - b'A') as usize;
            assert_eq!(choices.options[place], "blue");
            counts[place] += 1;
            let mut sorted = choices.options.clone();
            sorted.sort();
            assert_eq!(sorted, ["blue", "green", "red", "white"]);
        }
        // Each letter of 400 has a mean of 100 and a standard deviation of 8.7.
        assert!(counts.iter().all(|count| (65..=135).contains(count)), "{counts:?}");
        assert_eq!(shuffled(texts(&published), 2, "q"), shuffled(texts(&published), 2, "q"));
    }

    #[test]
    fn options_that_speak_of_places_keep_theirs() {
        for question in 0..20 {
            let question = format!("question {question}");
            let letters = ["x", "y", "Both A and B", "neither"];
            assert_eq!(
                shuffled(texts(&letters), 3, &question),
                Choices { options: texts(&letters), right: 'D' }
            );
            let above = shuffled(texts(&["x", "None of the above.", "y", "z"]), 2, &question);
            assert_eq!(above.options[1], "None of the above.");
            assert_eq!(above.options[(above.right as u8 - b'A') as usize], "y");
            let last = mixed("all of the above".to_owned(), texts(&["x", "y"]), &question);
            assert_eq!((last.options[2].as_str(), last.right), ("all of the above", 'C'));
        }
        assert!(
            names_letters("either (A) or (B).")
                && !names_letters("vitamin A and zinc")
                && !names_letters("I and II only")
        );
    }

    #[test]
    fn mixed_options_favour_no_letter() {
        let firsts = (0..400)
            .filter(|question| {
                mixed("r".to_owned(), texts(&["a", "b", "c"]), &question.to_string()).right == 'A'
            })
            .count();
        assert!((65..=135).contains(&firsts), "{firsts}");
    }
}
