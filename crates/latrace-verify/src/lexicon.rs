//! The parts that words play in a sentence that states an answer.
//!
//! `lexicon.txt` lists words of English by their part. A sentence is understood where all of its words are
//! listed; whoever reads it decides what to make of a word that is not, and of one that leaves an answer
//! open.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Changes nothing: "the", "clearly".
    Plain,
    /// Chooses: "I pick", "I think".
    Choose,
    /// Names an answer or approves of one: "option", "correct".
    Answer,
    /// Leads from a subject to its value: "is", "gives".
    Result,
    /// The same for numbers alone: "costs".
    Verb,
    /// Begins a conclusion: "so".
    Turn,
    /// Begins a statement against the one before: "but".
    Contrast,
    /// Begins a reason: "because".
    Reason,
    /// Says what was the case: "was".
    Past,
    /// Begins a correction: "wait".
    Pause,
    /// Denies: "not", "other than".
    Denial,
    /// Finds fault: "wrong", "extraneous".
    Flaw,
    /// Turns something down: "eliminate".
    Reject,
    /// Leaves open: "perhaps", "at least", "between".
    Doubt,
    /// Makes what follows depend on something: "if".
    Condition,
    /// Means all but what was named: "the others".
    Others,
    /// Sets the scene: "let", "where", "for example".
    Setting,
    /// Joins two of a kind: "and".
    Joint,
    /// A phrase that is an option of its own: "none of the above".
    Quote,
    /// Comes before an announcement in another language: "所以".
    Lead,
}

impl Role {
    /// Whether a word of this role denies what it is said of.
    pub(crate) fn denies(self) -> bool {
        matches!(self, Role::Denial | Role::Flaw | Role::Reject)
    }

    /// Whether a word of this role denies what it is said of, or leaves it open.
    pub(crate) fn is_against(self) -> bool {
        self.denies() || matches!(self, Role::Doubt | Role::Condition | Role::Pause)
    }
}

const SECTIONS: [(&str, Role); 20] = [
    ("[plain]", Role::Plain),
    ("[choose]", Role::Choose),
    ("[answer]", Role::Answer),
    ("[result]", Role::Result),
    ("[verb]", Role::Verb),
    ("[turn]", Role::Turn),
    ("[contrast]", Role::Contrast),
    ("[reason]", Role::Reason),
    ("[past]", Role::Past),
    ("[pause]", Role::Pause),
    ("[denial]", Role::Denial),
    ("[flaw]", Role::Flaw),
    ("[reject]", Role::Reject),
    ("[doubt]", Role::Doubt),
    ("[condition]", Role::Condition),
    ("[others]", Role::Others),
    ("[setting]", Role::Setting),
    ("[joint]", Role::Joint),
    ("[quote]", Role::Quote),
    ("[lead]", Role::Lead),
];

/// The phrases that begin with one word, the longest first, with their roles.
type Phrases = Vec<(Vec<&'static str>, Role)>;

static LEXICON: LazyLock<HashMap<&'static str, Phrases>> = LazyLock::new(read);

fn read() -> HashMap<&'static str, Phrases> {
    let mut lexicon: HashMap<&str, Phrases> = HashMap::new();
    let mut role = Role::Plain;
    for line in include_str!("lexicon.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some((_, section)) = SECTIONS.iter().find(|(name, _)| *name == line) {
            role = *section;
        }
        for phrase in phrases(line) {
            lexicon.entry(phrase[0]).or_default().push((phrase, role));
        }
    }
    for phrases in lexicon.values_mut() {
        phrases.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
    }
    lexicon
}

fn phrases(line: &'static str) -> Vec<Vec<&'static str>> {
    if line.starts_with('[') {
        return Vec::new();
    }
    let words = |phrase: &'static str| phrase.split_whitespace().collect::<Vec<_>>();
    let parts: Vec<Vec<&str>> = if line.contains(',') {
        line.split(',').map(words).collect()
    } else {
        words(line).into_iter().map(|word| vec![word]).collect()
    };
    parts.into_iter().filter(|phrase| !phrase.is_empty()).collect()
}

/// The role of the phrase that `words`, in lower case, begin with, and how many of them it takes.
pub(crate) fn role(words: &[Cow<'_, str>]) -> Option<(Role, usize)> {
    let first = words.first()?.as_ref();
    let is_here = |(phrase, role): &&(Vec<&str>, Role)| {
        // Words of other languages have no part in an English sentence.
        let has_part = *role != Role::Lead;
        has_part && words.len() >= phrase.len() && phrase.iter().zip(words).all(|(part, word)| part == word)
    };
    let phrases = LEXICON.get(first);
    let listed = phrases.and_then(|phrases| phrases.iter().find(is_here));
    let listed = listed.map(|(phrase, role)| (*role, phrase.len()));
    match (first, words.get(1)) {
        // "When adding" sets a scene; "when n is odd" is a condition.
        ("when", Some(next)) if next.ends_with("ing") => Some((Role::Plain, 1)),
        _ => listed.or_else(|| unlisted(first).map(|role| (role, 1))),
    }
}

/// The role of a word that no list holds.
fn unlisted(word: &str) -> Option<Role> {
    if word.ends_with("n't") {
        return Some(Role::Denial);
    }
    (word.chars().all(is_unspaced) && is_lead_sequence(word)).then_some(Role::Lead)
}

/// Whether a text consists of words that come before an announcement in another language.
pub(crate) fn is_lead(text: &str) -> bool {
    text.split_whitespace()
        .all(|word| is_lead_word(word) || (word.chars().all(is_unspaced) && is_lead_sequence(word)))
}

/// Whether a letter is of a script that puts no blanks between words, so that one may be several.
pub(crate) fn is_unspaced(letter: char) -> bool {
    letter >= '\u{2e80}'
}

fn is_lead_sequence(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let listed = |end: &usize| rest.get(..*end).is_some_and(is_lead_word);
        // The longest first: a word may begin with another.
        let Some(end) = (1..=rest.len().min(LONGEST_LEAD)).rev().find(listed) else {
            return false;
        };
        rest = &rest[end..];
    }
    true
}

const LONGEST_LEAD: usize = 18;

fn is_lead_word(word: &str) -> bool {
    let is_lead =
        |phrases: &Phrases| phrases.iter().any(|(phrase, role)| phrase.len() == 1 && *role == Role::Lead);
    LEXICON.get(word.to_lowercase().as_str()).is_some_and(is_lead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(Role, usize)>) {
        let words: Vec<Cow<'_, str>> = text.split_whitespace().map(Cow::from).collect();
        assert_eq!(role(&words), expected, "{text}");
    }

    #[test]
    fn a_phrase_comes_before_its_words() {
        check("not", Some((Role::Denial, 1)));
        check("not sure that", Some((Role::Doubt, 2)));
        check("equal to", Some((Role::Result, 2)));
        check("equal sides", Some((Role::Result, 1)));
        check("shouldn't be", Some((Role::Denial, 1)));
        check("when adding", Some((Role::Plain, 1)));
        check("when n", Some((Role::Doubt, 1)));
        check("vitamin", None);
        check("", None);
    }

    #[test]
    fn words_of_other_languages_come_before_announcements_alone() {
        check("所以正确答案是", Some((Role::Lead, 1)));
        check("所以正确答案不是", None);
        check("la", None);
        assert!(is_lead("La bonne") && is_lead("") && is_lead("所以正确"));
        assert!(!is_lead("Une autre") && !is_lead("lola"));
    }

    #[test]
    fn every_section_has_words_and_every_word_one_part() {
        for (name, role) in SECTIONS {
            assert!(LEXICON.values().flatten().any(|(_, listed)| *listed == role), "{name}");
        }
        let mut listed: Vec<String> = LEXICON
            .values()
            .flatten()
            .filter(|(_, role)| *role != Role::Lead)
            .map(|(phrase, _)| phrase.join(" "))
            .collect();
        listed.sort();
        let twice: Vec<_> = listed.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
