//! A text as words, values and marks, with the part that each word plays.

use std::borrow::Cow;

use crate::lexicon::{self, Role};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, perhaps with apostrophes between them.
    Word,
    /// Digits with points and commas between them.
    Number,
    /// A formula within its delimiters.
    Formula,
    /// A backslash with a name, outside of delimiters.
    Command,
    /// Any other character.
    Mark(char),
    /// The end of a line.
    Line,
}

/// A part of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Where it begins.
    pub(crate) at: usize,
    /// What it does in a statement, if it is a word that is understood.
    pub(crate) role: Option<Role>,
}

impl Token<'_> {
    /// Where it ends.
    pub(crate) fn end(&self) -> usize {
        self.at + self.text.len()
    }

    pub(crate) fn is_mark(&self, marks: &[char]) -> bool {
        matches!(self.kind, Kind::Mark(mark) if marks.contains(&mark))
    }
}

/// The tokens of a text.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let (kind, length) = token(&text[at..], first);
        // Blanks separate words and say nothing else.
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: &text[at..at + length], at, role: None });
        }
        at += length;
    }
    assign_roles(&mut tokens);
    for at in 0..tokens.len() {
        // "Had x been 0, it were 3" is a condition, "it had 3" is none.
        if inverts(&tokens[at]) && begins_sentence(&tokens, at) {
            tokens[at].role = Some(Role::Condition);
        }
    }
    tokens
}

fn begins_sentence(tokens: &[Token<'_>], at: usize) -> bool {
    let lines = tokens[..at].iter().rev().take_while(|token| token.kind == Kind::Line).count();
    at == lines || (at - lines - 1..at).any(|before| ends_sentence(tokens, before))
}

fn inverts(token: &Token<'_>) -> bool {
    ["had", "were", "should"].iter().any(|verb| token.text.eq_ignore_ascii_case(verb))
}

/// The kind and the length of the token that `text` begins with; no kind for blanks.
fn token(text: &str, first: char) -> (Option<Kind>, usize) {
    if first == '\n' {
        return (Some(Kind::Line), 1);
    }
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if let Some(length) = formula(text) {
        return (Some(Kind::Formula), length);
    }
    let next_is_digit = || text[1..].starts_with(|c: char| c.is_ascii_digit());
    if first.is_ascii_digit() || (first == '.' && next_is_digit()) {
        return (Some(Kind::Number), number(text));
    }
    if first.is_alphabetic() {
        return (Some(Kind::Word), word(text));
    }
    if first == '\\' {
        return (Some(Kind::Command), command(text));
    }
    (Some(Kind::Mark(first)), first.len_utf8())
}

/// The length of the digits that `text` begins with, and of the points and commas between them.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_part = |at: &usize| is_digit(*at) || (matches!(bytes[*at], b'.' | b',') && is_digit(*at + 1));
    (0..bytes.len()).find(|at| !is_part(at)).unwrap_or(bytes.len())
}

/// The length of the letters that `text` begins with, and of the apostrophes between them.
fn word(text: &str) -> usize {
    // Scripts that put no blanks between words are parted from letters of others.
    let is_unspaced = text.starts_with(lexicon::is_unspaced);
    let continues = |at: usize, c: char| {
        if lexicon::is_unspaced(c) != is_unspaced {
            return false;
        }
        let is_inside = || text[at + c.len_utf8()..].starts_with(char::is_alphabetic);
        c.is_alphabetic() || (matches!(c, '\'' | '’') && is_inside())
    };
    text.char_indices().find(|(at, c)| !continues(*at, *c)).map_or(text.len(), |(at, _)| at)
}

/// The length of a backslash and the name, or the one character, behind it.
fn command(text: &str) -> usize {
    let name = text[1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len() - 1);
    let escaped = || text[1..].chars().next().map_or(0, char::len_utf8);
    1 + if name == 0 { escaped() } else { name }
}

/// Delimiters of formulas, the longer before their beginnings.
const DELIMITERS: [(&str, &str); 4] = [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")];

/// The length of the formula that `text` begins with.
fn formula(text: &str) -> Option<usize> {
    // Above every formula in a sentence; a delimiter without its partner must not cost a search of all.
    const LONGEST: usize = 1_000;
    let (open, close) = DELIMITERS.iter().find(|(open, _)| text.starts_with(open))?;
    let inside = &text[open.len()..];
    let mut bound = inside.len().min(LONGEST);
    while !inside.is_char_boundary(bound) {
        bound -= 1;
    }
    let length = inside[..bound].find(close)?;
    let is_money = *open == "$" && is_money(&inside[..length], &inside[length + 1..]);
    (!is_money).then_some(open.len() + length + close.len())
}

/// Whether two dollar signs are of amounts, by what stands between them and behind the second: `$5 - $3` and
/// `$5 for $3` are no formulas.
fn is_money(inside: &str, behind: &str) -> bool {
    let inside = inside.trim();
    let ends_open = inside.is_empty() || inside.ends_with(['+', '-', '*', '/', '=', '<', '>', '(']);
    ends_open || behind.starts_with(|c: char| c.is_ascii_digit()) || has_prose(inside)
}

/// Whether words stand between two dollar signs.
fn has_prose(inside: &str) -> bool {
    // The names of commands and what they hold are no prose.
    let mut words = inside.split_whitespace();
    !inside.contains('\\')
        && words.any(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Gives each word, or phrase, its role.
fn assign_roles(tokens: &mut [Token<'_>]) {
    let is_word = |token: &Token<'_>| token.kind == Kind::Word;
    let mut at = 0;
    while at < tokens.len() {
        // Phrases end where words do: a mark or a number is between no two words of one.
        let run = tokens[at..].iter().take_while(|token| is_word(token)).count();
        assign_roles_of_words(&mut tokens[at..at + run]);
        at += run.max(1);
    }
}

fn assign_roles_of_words(words: &mut [Token<'_>]) {
    let lower: Vec<Cow<'_, str>> = words.iter().map(|word| plain(word.text)).collect();
    let mut at = 0;
    while at < words.len() {
        let found = lexicon::role(&lower[at..]);
        let length = found.map_or(1, |(_, length)| length);
        words[at..at + length].iter_mut().for_each(|word| word.role = found.map(|(role, _)| role));
        at += length;
    }
}

/// A word as the lexicon has it, in lower case: "can't" and "can’t" are one word.
fn plain(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.to_lowercase().replace('’', "'"))
}

/// Whether a token ends a sentence: marks, or a line's end after anything but a word that leads on.
pub(crate) fn ends_sentence(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    match tokens[at].kind {
        Kind::Mark('.') => !is_abbreviated(tokens, at),
        Kind::Mark(mark) => matches!(mark, '!' | '?' | ';' | '。' | '！' | '？' | '；'),
        Kind::Line => !leads_on(before) || ends_heading(tokens, at),
        _ => false,
    }
}

/// `The answer is:` and `we get`, each before a line's end, are continued on the next line.
fn leads_on(last: Option<&Token<'_>>) -> bool {
    let is_open = |role: Role| {
        matches!(
            role,
            Role::Plain
                | Role::Choose
                | Role::Answer
                | Role::Result
                | Role::Turn
                | Role::Contrast
                | Role::Reason
                | Role::Past
                | Role::Condition
                | Role::Joint
        )
    };
    last.is_some_and(|token| {
        let is_mark = token.is_mark(&[',', ':', '：', '=', '#']);
        // "No" ends a line, "not" does not.
        let is_not = |text: &str| text.ends_with("n't") || matches!(text, "not" | "cannot");
        let is_denial = token.role == Some(Role::Denial) && is_not(&token.text.to_lowercase());
        is_mark || is_denial || token.kind == Kind::Line || token.role.is_some_and(is_open)
    })
}

/// Whether a line is a heading of Markdown.
fn ends_heading(tokens: &[Token<'_>], end: usize) -> bool {
    let line = tokens[..end].iter().rposition(|token| token.kind == Kind::Line).map_or(0, |at| at + 1);
    line < end && tokens[line].is_mark(&['#'])
}

/// Titles, initials and the like: `Mr. B`, `J. B.`, `e.g. 5`.
fn is_abbreviated(tokens: &[Token<'_>], at: usize) -> bool {
    let is_initial = |at: Option<usize>| {
        let token = at.and_then(|at| tokens.get(at));
        token.is_some_and(|token| {
            token.text.len() == 1 && token.text.starts_with(|c: char| c.is_ascii_uppercase())
        })
    };
    let ends = |at: usize| tokens.get(at).is_none_or(|token| token.is_mark(&['.']));
    if is_initial(at.checked_sub(1)) && is_initial(Some(at + 1)) && ends(at + 2) {
        return true;
    }
    is_short_form(at.checked_sub(1).map(|before| &tokens[before]), tokens.get(at + 1))
}

fn is_short_form(before: Option<&Token<'_>>, next: Option<&Token<'_>>) -> bool {
    const LONGEST: usize = 4;
    const LOWER: [&str; 14] =
        ["e", "g", "i", "ie", "eg", "vs", "cf", "approx", "ca", "etc", "fig", "eq", "ex", "resp"];
    // "No. 5" is a number's name.
    let is_number = next.is_some_and(|next| next.kind == Kind::Number);
    if is_number && before.is_some_and(|word| word.text == "No") {
        return true;
    }
    let Some(word) = before.filter(|token| token.kind == Kind::Word && token.role.is_none()) else {
        return false;
    };
    let is_title =
        word.text.starts_with(char::is_uppercase) && (2..=LONGEST).contains(&word.text.chars().count());
    next.is_some() && (is_title || LOWER.contains(&word.text))
}
