//! What the sentences around an answer say of it: whether they deny it or take it back.

use crate::letter::is_letter;
use crate::lexicon::Role;
use crate::sentence::{Kind, Token, ends_sentence, tokens};

/// How much of a text around an answer is read, in bytes.
pub(crate) const WINDOW: usize = 8_000;

/// How much of a text around a box is read, in bytes.
const NEAR: usize = 160;

/// The last of a text, at most so many bytes.
pub(crate) fn last_bytes(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The first of a text, at most so many bytes.
fn first_bytes(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The tokens of each sentence, with the mark that ends it.
pub(crate) fn sentences<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for at in 0..tokens.len() {
        if ends_sentence(tokens, at) || at + 1 == tokens.len() {
            sentences.push(&tokens[start..=at]);
            start = at + 1;
        }
    }
    sentences
}

/// Whether the sentence that `before` ends in the midst of denies what follows, or makes it depend on
/// something.
pub(crate) fn is_denied_before(before: &str) -> bool {
    let tokens = tokens(last_bytes(before, WINDOW));
    // What "so" begins is a statement of its own.
    let is_start = |at: &usize| ends_sentence(&tokens, *at) || tokens[*at].role == Some(Role::Turn);
    let start = (0..tokens.len()).rev().find(is_start).map_or(0, |at| at + 1);
    // Nothing is known of a sentence whose beginning was not read.
    if start == 0 && before.len() > WINDOW {
        return true;
    }
    let sentence = &tokens[start..];
    let opens_clause = |token: &Token<'_>| {
        token.is_mark(&[',', '(']) || matches!(token.role, Some(Role::Turn | Role::Contrast | Role::Reason))
    };
    let clause = sentence.iter().rposition(opens_clause).unwrap_or(0);
    let is_against = |token: &Token<'_>| token.role.is_some_and(Role::is_against);
    if is_qualified(&sentence[clause..]) {
        return true;
    }
    // A condition holds for the whole sentence, a denial for its clause.
    sentence.iter().any(|token| token.role == Some(Role::Condition))
        || sentence[clause..].iter().any(is_against)
}

/// Whether a word that is not understood belongs to what is announced: "the bogus" before "answer is".
fn is_qualified(words: &[Token<'_>]) -> bool {
    let begins_noun =
        |word: &Token<'_>| is_one_of(word, &["the", "my", "our", "an", "a", "this", "that", "its"]);
    let near = words.iter().rev().take_while(|token| token.kind == Kind::Word && !begins_noun(token));
    near.into_iter().any(|word| word.role.is_none())
}

/// Whether a text says what an answer is not: `not 5`. "No solution" is an answer.
pub(crate) fn is_denial(answer: &str) -> bool {
    let tokens = tokens(first_bytes(answer, NEAR));
    let names =
        |token: &Token<'_>| matches!(token.kind, Kind::Number | Kind::Formula) || is_letter(token.text);
    tokens.first().is_some_and(|first| is_one_of(first, &["not", "never"])) && tokens.iter().any(names)
}

/// Whether what follows an answer takes it back: the rest of its sentence, or a later one.
pub(crate) fn is_taken_back(behind: &str) -> bool {
    let tokens = tokens(first_bytes(behind, WINDOW));
    let mut sentences = sentences(&tokens).into_iter();
    let rest = sentences.next().unwrap_or(&[]);
    is_rest_against(rest) || sentences.any(takes_back)
}

/// Whether the rest of an answer's sentence leaves it open. Reasons and what the answer is not do not.
fn is_rest_against(rest: &[Token<'_>]) -> bool {
    let first = rest.iter().position(|token| token.kind == Kind::Word);
    let explains = first.is_some_and(|first| match rest[first].role {
        Some(Role::Reason) => true,
        // "Not 41", but not "not really".
        Some(Role::Denial) => !denies_answer(&rest[first + 1..]),
        _ => false,
    });
    let names_others = rest.iter().any(|token| token.role == Some(Role::Others));
    !explains && !names_others && rest.iter().any(|token| token.role.is_some_and(Role::is_against))
}

/// Words with which a sentence begins that corrects the one before.
const CORRECTIONS: [&str; 10] = [
    "actually",
    "correction",
    "rather",
    "instead",
    "or",
    "maybe",
    "perhaps",
    "possibly",
    "apparently",
    "supposedly",
];

/// Whether a sentence takes back what was said before it: `That is wrong.`, `No, ...`, `Wait, ...`, `Maybe.`
pub(crate) fn takes_back(sentence: &[Token<'_>]) -> bool {
    let words = without_lead_marks(sentence);
    let corrects = |word: &Token<'_>| word.role == Some(Role::Pause) || is_one_of(word, &CORRECTIONS);
    // "At least it seems so"
    let hedges = |words: &[Token<'_>]| matches!(words, [at, least, ..] if is_one_of(at, &["at"]) && is_one_of(least, &["least"]));
    if hedges(words) {
        return true;
    }
    words.first().is_some_and(corrects) || finds_fault(sentence) || is_doubtful(words)
}

/// Whether a sentence says that what was said before it is wrong. It speaks of something else from the first
/// word on that is not understood.
fn finds_fault(sentence: &[Token<'_>]) -> bool {
    let words = without_lead_marks(sentence);
    // "No, it is 3", but not "No other value fits".
    if let [first, next, ..] = words
        && first.role == Some(Role::Denial)
        && matches!(next.kind, Kind::Mark(_))
    {
        return true;
    }
    let is_passed = |token: &Token<'_>| match token.kind {
        Kind::Mark(_) | Kind::Line => true,
        _ => token
            .role
            .is_some_and(|role| is_transparent(role) || matches!(role, Role::Doubt | Role::Condition)),
    };
    let Some(at) = words.iter().position(|token| !is_passed(token)) else {
        return false;
    };
    match words[at].role {
        Some(Role::Flaw | Role::Pause) => true,
        Some(Role::Denial) => denies_answer(&words[at + 1..]),
        Some(Role::Reject) => rejects_it(&words[at + 1..]),
        _ => false,
    }
}

/// Whether all of a sentence is understood, and leaves open what was said before it.
fn is_doubtful(sentence: &[Token<'_>]) -> bool {
    let words = || sentence.iter().filter(|token| !matches!(token.kind, Kind::Mark(_) | Kind::Line));
    words().all(|token| token.role.is_some())
        && words().any(|token| matches!(token.role, Some(Role::Doubt | Role::Condition)))
}

fn without_lead_marks<'t, 'a>(sentence: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_blank = |token: &Token<'_>| token.kind == Kind::Line || token.is_mark(&['*', '(', '#', '-']);
    let start = sentence.iter().position(|token| !is_blank(token)).unwrap_or(sentence.len());
    &sentence[start..]
}

/// Whether words of a role leave a statement what it was without them.
pub(crate) fn is_transparent(role: Role) -> bool {
    matches!(
        role,
        Role::Plain
            | Role::Choose
            | Role::Answer
            | Role::Result
            | Role::Past
            | Role::Turn
            | Role::Contrast
            | Role::Joint
            | Role::Lead
    )
}

/// Whether words behind a denial mean the answer: `not right`, `not the answer`, or nothing at all.
fn denies_answer(words: &[Token<'_>]) -> bool {
    let is_passed = |word: &Token<'_>| {
        let passes =
            matches!(word.role, Some(Role::Plain | Role::Choose | Role::Result | Role::Denial | Role::Turn))
                && !is_letter(word.text);
        // "Not only the answer" denies nothing.
        matches!(word.kind, Kind::Mark(_) | Kind::Line) || (passes && !is_one_of(word, &["only", "just"]))
    };
    let next = words.iter().find(|word| !is_passed(word));
    next.is_none_or(|word| matches!(word.role, Some(Role::Answer | Role::Flaw)))
}

/// Whether words behind a verb of rejection mean the answer: `ignore that`, but not `I doubt that it is 5`.
fn rejects_it(words: &[Token<'_>]) -> bool {
    let next = words.iter().find(|word| word.kind == Kind::Word);
    let names_value = words.iter().any(|word| matches!(word.kind, Kind::Number | Kind::Formula));
    !names_value && next.is_none_or(|word| is_one_of(word, &["it", "that", "this", "what"]))
}

pub(crate) fn is_one_of(word: &Token<'_>, words: &[&str]) -> bool {
    words.iter().any(|other| word.text.eq_ignore_ascii_case(other))
}

/// Whether the words around a box deny what is in it. The box stands unless they do: words that are not
/// understood, and those of another clause, change nothing.
pub(crate) fn is_box_denied(before: &str, behind: &str) -> bool {
    is_box_denied_before(&tokens(last_sentence(last_bytes(before, NEAR))))
        || is_box_denied_behind(&tokens(first_bytes(behind, NEAR)))
}

/// What follows the last full stop and blank of a text. Nothing before it is said of a box behind it.
fn last_sentence(text: &str) -> &str {
    let ends = |pair: &[u8]| pair[0] == b'.' && pair[1].is_ascii_whitespace();
    let stop = text.as_bytes().windows(2).rposition(ends);
    stop.map_or(text, |stop| &text[stop + 1..])
}

/// `not \boxed{A}`, `I do not think that it is \boxed{A}`, `x \ne \boxed{5}`.
fn is_box_denied_before(tokens: &[Token<'_>]) -> bool {
    for at in (0..tokens.len()).rev() {
        let words = &tokens[at + 1..];
        match (tokens[at].kind, tokens[at].role) {
            (Kind::Mark('≠'), _) => return true,
            (Kind::Mark('!'), _) => {
                return words.first().is_some_and(|next| next.is_mark(&['=']) && next.at == tokens[at].end());
            }
            (Kind::Mark(mark), _) if "$=:([{*\"“'#≈".contains(mark) => {}
            (Kind::Command, _) if ["\\ne", "\\neq", "\\not"].contains(&tokens[at].text) => return true,
            (Kind::Command | Kind::Line, _) => {}
            // "Wait, no: \\boxed{5}"
            (_, Some(Role::Denial)) if is_interjection(&tokens[at], words) => return false,
            (_, Some(Role::Denial)) => return reaches_box(words),
            (_, Some(Role::Reject)) => {
                return !has_verb(words) || words.first().is_some_and(leads_to_statement);
            }
            (_, Some(Role::Flaw)) => return !has_verb(words) || names_answer(words),
            (_, Some(Role::Doubt)) if !is_one_of(&tokens[at], &COMPARISONS) => {}
            (_, Some(Role::Plain | Role::Choose | Role::Answer | Role::Result | Role::Past | Role::Verb)) => {
            }
            _ => return false,
        }
    }
    false
}

fn is_interjection(word: &Token<'_>, behind: &[Token<'_>]) -> bool {
    let is_marked = behind.first().is_some_and(|next| next.is_mark(&[':', '—', '–', '!']));
    is_marked && is_one_of(word, &["no", "nope", "nah"])
}

/// Words that make a bound of what follows: `not more than \boxed{5}` denies nothing.
const COMPARISONS: [&str; 12] = [
    "than", "exceed", "exceeds", "above", "below", "over", "under", "between", "beyond", "around", "about",
    "to",
];

/// Whether a denial is of the box, and not of a subject such as "the number of those not chosen is".
fn reaches_box(words: &[Token<'_>]) -> bool {
    let words: Vec<&Token<'_>> = words.iter().filter(|word| word.kind == Kind::Word).collect();
    let Some(first) = words.first() else {
        return true;
    };
    let leads_on = ["think", "believe", "say", "true", "correct", "right", "that", "possibly"];
    first.role == Some(Role::Result) || is_one_of(first, &leads_on) || !words.iter().any(|word| is_verb(word))
}

/// "I doubt that it is", "I deny it is".
fn leads_to_statement(word: &Token<'_>) -> bool {
    is_one_of(word, &["that", "it", "it's", "this"])
}

fn has_verb(words: &[Token<'_>]) -> bool {
    words.iter().any(is_verb)
}

fn is_verb(word: &Token<'_>) -> bool {
    matches!(word.role, Some(Role::Result | Role::Past | Role::Verb))
}

/// "The wrong answer is", but not "the number of wrong answers is".
fn names_answer(words: &[Token<'_>]) -> bool {
    let singular = ["answer", "option", "choice", "letter", "result", "solution", "value", "guess"];
    words.first().is_some_and(|word| is_one_of(word, &singular))
}

/// `\boxed{A} is wrong`, `\boxed{A}? No.`, `\boxed{A}, which cannot be right`, `\boxed{A}. That is wrong.`
fn is_box_denied_behind(tokens: &[Token<'_>]) -> bool {
    let closes = |token: &Token<'_>| {
        token.is_mark(&['$', ')', ']', '}', '*', '"', '”', '\'']) || token.kind == Kind::Command
    };
    let start = tokens.iter().position(|token| !closes(token)).unwrap_or(tokens.len());
    let Some((first, rest)) = tokens[start..].split_first() else {
        return false;
    };
    let next = rest.iter().find(|token| token.kind != Kind::Line);
    match first.kind {
        Kind::Mark('?') => next.is_some_and(|word| word.role.is_some_and(Role::is_against)),
        Kind::Mark('.' | '!') | Kind::Line => {
            let lines = rest.iter().take_while(|token| token.kind == Kind::Line).count();
            sentences(&rest[lines..]).first().is_some_and(|sentence| finds_fault(sentence))
        }
        Kind::Mark(',' | '(' | '—' | '–' | '-' | ';' | ':') => is_denied_in_aside(rest),
        _ => is_denied_by_predicate(&tokens[start..]),
    }
}

/// `, which is wrong`, `(wrong)`, `, no`; but `, not 6` denies another value.
fn is_denied_in_aside(words: &[Token<'_>]) -> bool {
    let Some((first, rest)) = words.split_first() else {
        return false;
    };
    match first.role {
        Some(Role::Flaw) => true,
        Some(Role::Denial) => is_one_of(first, &["no", "nope", "nah"]),
        Some(Role::Contrast) => is_denied_by_predicate(rest),
        _ => is_one_of(first, &["which", "that", "this", "it"]) && is_denied_by_predicate(rest),
    }
}

/// Whether words that follow a subject deny something of it: `is wrong`, `cannot be right`, `fails`.
fn is_denied_by_predicate(words: &[Token<'_>]) -> bool {
    let is_passed = |word: &Token<'_>| {
        let is_pronoun = is_one_of(word, &["which", "that", "this", "it"]);
        is_pronoun
            || matches!(
                word.role,
                Some(Role::Plain | Role::Answer | Role::Result | Role::Past | Role::Doubt | Role::Condition)
            )
    };
    let Some(at) = words.iter().position(|word| !is_passed(word)) else {
        return false;
    };
    match words[at].role {
        Some(Role::Flaw | Role::Reject) => true,
        // `\boxed{5} not 6` denies another value, and "is not only" nothing.
        Some(Role::Denial) => {
            let is_verb =
                at > 0 || words[at].text.ends_with("n't") || is_one_of(&words[at], &["cannot", "never"]);
            is_verb && !words.get(at + 1).is_some_and(|next| is_one_of(next, &["only", "just"]))
        }
        _ => false,
    }
}
