//! What a text without a box concludes, in a sentence such as "Therefore, x = 42."
//!
//! The last sentence with a value decides. It must be understood: its last value stands behind a verb, a mark
//! of a conclusion or an equals sign ("we get 42", "so 42", "= 42"), or before words such as "is the answer",
//! and nothing but a unit follows it. Beside "not", "wrong", "about", "between", "either", "if" or a question
//! mark a value is no answer, and then there is none: what stands before was considered, or denied. Sentences
//! that set a scene ("let x = 3", "step 2", "check: ...") are passed over. So are sentences without values,
//! unless they take back what was said ("That is wrong.").

use crate::lexicon::Role;
use crate::sentence::{Kind, Token, tokens};
use crate::stance::{WINDOW, is_one_of, last_bytes, sentences, takes_back};

/// The value that the last sentence with one concludes.
pub(super) fn of(text: &str) -> Option<String> {
    // Emphasis is none of the signs of multiplication.
    let end = last_bytes(text, WINDOW);
    // Nothing is known of a sentence whose beginning was not read.
    let unread = usize::from(end.len() < text.len());
    let text = end.replace("**", " ").replace('`', " ");
    let tokens = tokens(&text);
    let sentences = sentences(&tokens);
    for at in (unread..sentences.len()).rev() {
        match read(&text, sentences[at]) {
            Reading::Concludes(answer) => {
                let heading = at.checked_sub(1).map(|before| sentences[before]);
                return Some(answer).filter(|_| !heading.is_some_and(denies_next));
            }
            Reading::Unclear => return None,
            Reading::Aside => {}
        }
    }
    None
}

/// What a sentence says.
enum Reading {
    /// The answer is this.
    Concludes(String),
    /// A value stands in it, of which it is not understood what it is.
    Unclear,
    /// Nothing about an answer.
    Aside,
}

/// Whether a line that no mark ends, such as a heading "Wrong answers", is against what follows it.
fn denies_next(sentence: &[Token<'_>]) -> bool {
    let is_open = sentence.last().is_some_and(|token| token.kind == Kind::Line);
    is_open && sentence.iter().any(|token| token.role.is_some_and(Role::is_against))
}

fn read(text: &str, sentence: &[Token<'_>]) -> Reading {
    let clauses = clauses(sentence);
    if !clauses.iter().any(Clause::has_value) {
        return if takes_back(sentence) { Reading::Unclear } else { Reading::Aside };
    }
    // "Check: x = 3", "For example, 3".
    let is_scene = |clause: &Clause<'_, '_>| {
        !clause.has_value() && clause.words().all(|word| word.role == Some(Role::Setting))
    };
    if clauses.iter().any(is_scene) {
        return Reading::Aside;
    }
    // A word of another language may deny.
    let is_foreign = sentence.iter().any(|token| {
        token.kind == Kind::Word && token.text.len() > 2 && !token.text.is_ascii() && token.role.is_none()
    });
    // "It is 5!" may be meant as a factorial.
    let is_asked = sentence.last().is_some_and(|end| end.is_mark(&['?', '？', '!', '！']));
    // "42..." goes on.
    let goes_on =
        sentence.iter().any(|token| token.is_mark(&['…']) || text[token.end()..].starts_with("..."))
            || sentence.last().is_some_and(|end| end.is_mark(&['.']) && text[end.end()..].starts_with('.'));
    if is_asked || goes_on || is_foreign { Reading::Unclear } else { read_clauses(text, &clauses) }
}

fn read_clauses(text: &str, clauses: &[Clause<'_, '_>]) -> Reading {
    let mut denied: Vec<&str> = Vec::new();
    for (at, clause) in clauses.iter().enumerate().rev() {
        if !clauses[..=at].iter().any(Clause::has_value) {
            break;
        }
        let stance = stance(clauses, at);
        match (clause.has_value(), stance) {
            (false, Stance::Harmless) => {}
            (true, Stance::Denies) => denied.extend(clause.values(text)),
            _ if clause.first_role() == Some(Role::Setting) => {}
            (true, Stance::Harmless) => {
                let answer =
                    clause.answer(text).filter(|_| !clause.values(text).any(|value| denied.contains(&value)));
                return answer.map_or(Reading::Unclear, Reading::Concludes);
            }
            _ => return Reading::Unclear,
        }
    }
    if denied.is_empty() { Reading::Aside } else { Reading::Unclear }
}

/// What a clause makes of the values in it, or in the clause before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stance {
    Harmless,
    Denies,
    Doubts,
}

fn stance(clauses: &[Clause<'_, '_>], at: usize) -> Stance {
    let clause = &clauses[at];
    if !clause.has_value() {
        return if clause.is_harmless_behind_value() { Stance::Harmless } else { Stance::Doubts };
    }
    // A clause without a verb of its own continues the one before: "it is wrong: 42".
    let start = (1..=at).rev().find(|at| clauses[*at].is_independent()).unwrap_or(0);
    let roles = || clauses[start..=at].iter().flat_map(Clause::roles);
    if roles().any(|role| matches!(role, Role::Doubt | Role::Pause))
        || is_conditional(clauses, at)
        || clause.holds_inequality()
    {
        return Stance::Doubts;
    }
    if roles().any(Role::denies) { Stance::Denies } else { Stance::Harmless }
}

/// Whether a clause depends on a condition of its sentence: one before it, up to a conclusion, or one behind
/// it.
fn is_conditional(clauses: &[Clause<'_, '_>], at: usize) -> bool {
    let start = (0..=at).rev().find(|at| clauses[*at].first_role() == Some(Role::Turn)).unwrap_or(0);
    clauses[start..].iter().flat_map(Clause::roles).any(|role| role == Role::Condition)
}

/// A part of a sentence: words, and values between them.
struct Clause<'t, 'a> {
    items: Vec<Item<'t, 'a>>,
}

enum Item<'t, 'a> {
    Word(&'t Token<'a>),
    Value(&'t [Token<'a>]),
}

/// The clauses of a sentence, which end at commas, brackets and colons, and before words such as "so",
/// "because" and "where".
fn clauses<'t, 'a>(sentence: &'t [Token<'a>]) -> Vec<Clause<'t, 'a>> {
    let mut clauses = vec![Clause { items: Vec::new() }];
    let mut at = 0;
    while at < sentence.len() {
        let token = &sentence[at];
        let run = value_length(&sentence[at..]);
        let ends = run == 0 && token.is_mark(&[',', '，', ':', '：', '(', ')', '—', '–']);
        if ends || opens_clause(sentence, at) {
            clauses.push(Clause { items: Vec::new() });
        }
        let items = clauses.last_mut().map(|clause| &mut clause.items);
        match items {
            Some(items) if run > 0 => items.push(Item::Value(&sentence[at..at + run])),
            Some(items) if token.kind == Kind::Word => items.push(Item::Word(token)),
            _ => {}
        }
        at += run.max(1);
    }
    clauses.retain(|clause| !clause.items.is_empty());
    clauses
}

fn opens_clause(sentence: &[Token<'_>], at: usize) -> bool {
    let role = sentence[at].role;
    let opens =
        matches!(role, Some(Role::Turn | Role::Contrast | Role::Reason | Role::Pause | Role::Setting));
    // Each word of a phrase has its role; a phrase opens one clause.
    opens && (at == 0 || sentence[at - 1].role != role)
}

/// How many tokens the value takes that `tokens` begin with: numbers, formulas, letters and signs, and lists
/// of such; 0 where there is none.
fn value_length(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    let mut length = 0;
    while let Some(token) = tokens.get(length) {
        let goes_on = || tokens.get(length + 1).is_some_and(|_| is_of_value(tokens, length + 1));
        match token.kind {
            Kind::Mark('(' | '[') if is_of_value(tokens, length) => depth += 1,
            Kind::Mark(')' | ']') if depth == 0 => break,
            Kind::Mark(')' | ']') => depth -= 1,
            Kind::Mark(',') if length > 0 && goes_on() => {}
            Kind::Word if length > 0 && token.role == Some(Role::Joint) && goes_on() => {}
            _ if is_of_value(tokens, length) => {}
            _ => break,
        }
        length += 1;
    }
    // Signs without their right side belong to the sentence.
    while length > 0 && is_open_end(&tokens[length - 1]) {
        length -= 1;
    }
    let holds_value = |token: &Token<'_>| matches!(token.kind, Kind::Number | Kind::Formula | Kind::Command);
    if tokens[..length].iter().any(holds_value) { length } else { 0 }
}

fn is_open_end(token: &Token<'_>) -> bool {
    token.is_mark(&['(', '[', '=', '+', '-', '*', '/', '^', '<', '>', ',']) || token.role == Some(Role::Joint)
}

/// Names of functions, which are no words.
const FUNCTIONS: [&str; 9] = ["sin", "cos", "tan", "log", "ln", "exp", "sqrt", "pi", "mod"];

/// Whether a token may be a part of a value.
fn is_of_value(tokens: &[Token<'_>], at: usize) -> bool {
    let token = &tokens[at];
    let touches = |other: Option<&Token<'_>>| {
        other.is_some_and(|other| {
            (other.end() == token.at || other.at == token.end())
                && !matches!(other.kind, Kind::Word | Kind::Line)
        })
    };
    match token.kind {
        Kind::Number | Kind::Formula => true,
        Kind::Command => !LAYOUT.contains(&token.text),
        // "a" and "I" are words unless they touch a sign.
        Kind::Word if matches!(token.text, "a" | "A" | "I") => {
            touches(tokens.get(at + 1)) || (at > 0 && touches(tokens.get(at - 1)))
        }
        Kind::Word => token.text.len() == 1 || FUNCTIONS.contains(&token.text),
        Kind::Mark('(' | '[') => tokens.get(at + 1).is_some_and(|_| is_of_value(tokens, at + 1)),
        // An amount of money, within a sum.
        Kind::Mark('$') => tokens.get(at + 1).is_some_and(|next| next.kind == Kind::Number) && at > 0,
        Kind::Mark(mark) => "+-−*/=^)]{}<>|%°√π≤≥≈≠±×÷·_∞".contains(mark),
        Kind::Line => false,
    }
}

/// Commands that lay a text out.
const LAYOUT: [&str; 8] = ["\\quad", "\\qquad", "\\,", "\\;", "\\ ", "\\\\", "\\(", "\\["];

impl<'t, 'a> Clause<'t, 'a> {
    fn has_value(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Value(_)))
    }

    fn values<'s>(&'s self, text: &'s str) -> impl Iterator<Item = &'s str> {
        self.items.iter().filter_map(move |item| match item {
            Item::Value(tokens) => Some(span(text, tokens)),
            Item::Word(_) => None,
        })
    }

    fn words(&self) -> impl Iterator<Item = &'t Token<'a>> {
        words(&self.items)
    }

    fn roles(&self) -> impl Iterator<Item = Role> {
        self.words().filter_map(|word| word.role)
    }

    fn first_role(&self) -> Option<Role> {
        self.words().next().and_then(|word| word.role)
    }

    /// Whether a clause is a statement by itself, whatever the one before says.
    fn is_independent(&self) -> bool {
        matches!(self.first_role(), Some(Role::Turn | Role::Contrast | Role::Reason | Role::Setting))
            || (self.roles().any(is_verb)
                && !self.words().next().is_some_and(|word| word.text.eq_ignore_ascii_case("that")))
    }

    /// `5 \ne 5` states no value.
    fn holds_inequality(&self) -> bool {
        let is_unequal =
            |token: &Token<'_>| token.is_mark(&['≠']) || ["\\ne", "\\neq", "\\not"].contains(&token.text);
        self.items.iter().any(|item| matches!(item, Item::Value(tokens) if tokens.iter().any(is_unequal)))
    }

    /// Whether a clause without values leaves the value before it what it is: a reason, a conclusion, or
    /// words that are all understood. An alternative does not.
    fn is_harmless_behind_value(&self) -> bool {
        let first = self.first_role();
        if first == Some(Role::Reason) || self.roles().any(|role| role == Role::Others) {
            return true;
        }
        let is_led = matches!(first, Some(Role::Turn | Role::Setting))
            || self.words().next().is_some_and(|word| word.text.eq_ignore_ascii_case("which"));
        let is_understood = is_led || self.words().all(|word| word.role.is_some());
        is_understood && first != Some(Role::Joint) && !self.roles().any(Role::is_against)
    }

    /// The last value, with its unit, if the words around it make it the clause's result.
    fn answer(&self, text: &str) -> Option<String> {
        if self.is_answer_of_another() {
            return None;
        }
        let at = self.items.iter().rposition(|item| matches!(item, Item::Value(_)))?;
        let Item::Value(tokens) = &self.items[at] else {
            return None;
        };
        let before = self.items[..at].iter().rposition(|item| matches!(item, Item::Value(_)));
        let words: Vec<_> = words(&self.items[before.map_or(0, |before| before + 1)..at]).collect();
        let tokens = stated_value(text, &words, tokens, before.is_some())?;
        let is_computed =
            tokens.first().is_some_and(|first| text[..first.at].trim_end_matches([' ', '$']).ends_with('='));
        let unit = if is_computed { self.unit_of_sum(at) } else { self.unit_behind(at) }?;
        let end = unit.map_or_else(|| tokens.last().map(Token::end), |word| Some(word.end()))?;
        Some(match tokens {
            [formula] if formula.kind == Kind::Formula && unit.is_none() => inside(formula.text).to_owned(),
            _ => text[tokens.first()?.at..end].to_owned(),
        })
    }

    /// "John's answer is", "the answer of the fool is": with words beside it that are not understood.
    fn is_answer_of_another(&self) -> bool {
        let words: Vec<_> = self.words().collect();
        let is_answer = |at: usize| is_one_of(words[at], &["answer"]);
        let is_understood = |word: &Token<'_>| word.role.is_some() || is_one_of(word, &["to", "for"]);
        (0..words.len()).filter(|at| is_answer(*at)).any(|at| {
            let behind = words.get(at + 1).is_some_and(|word| !is_understood(word));
            behind || (at > 0 && words[at - 1].role.is_none())
        })
    }

    /// The same behind an equals sign, where the value is a result whatever the sentence goes on to say of
    /// its use: "= 16 students in the hall".
    fn unit_of_sum(&self, at: usize) -> Option<Option<&'t Token<'a>>> {
        self.unit_behind(at).or_else(|| {
            let words: Vec<_> = words(&self.items[at + 1..]).collect();
            let is_preposition = |word: &&Token<'_>| PREPOSITIONS.contains(&word.text);
            let place = words.iter().position(is_preposition)?;
            let is_clear = words
                .iter()
                .all(|word| matches!(word.role, None | Some(Role::Plain | Role::Answer | Role::Others)));
            (is_clear && place <= 2).then(|| place.checked_sub(1).map(|last| words[last]))
        })
    }

    /// The last word of the unit behind the value at `at`, if there is one; `None` where what follows is not
    /// understood.
    fn unit_behind(&self, at: usize) -> Option<Option<&'t Token<'a>>> {
        const MOST_WORDS: usize = 3;
        let words: Vec<_> = words(&self.items[at + 1..]).collect();
        let is_noun = |word: &&Token<'_>| matches!(word.role, None | Some(Role::Answer));
        let (nouns, rest) = words.split_at(words.iter().take_while(|word| is_noun(word)).count());
        let adds_nothing = rest.iter().all(|word| word.role == Some(Role::Plain));
        let is_unit = adds_nothing && nouns.len() <= MOST_WORDS;
        // "42 is the answer", "42 is correct".
        let approves = || {
            // "42 is a solution" leaves room for others.
            let is_approval = |word: &&Token<'_>| {
                matches!(word.role, Some(Role::Plain | Role::Answer | Role::Result))
                    && !is_one_of(word, &["a", "an"])
            };
            nouns.is_empty()
                && rest.first().is_some_and(|word| word.role == Some(Role::Result))
                && rest.iter().all(is_approval)
                && rest.iter().any(|word| word.role == Some(Role::Answer))
        };
        (is_unit || approves()).then(|| nouns.last().copied())
    }
}

/// Words with which a result's purpose or place begins.
const PREPOSITIONS: [&str; 16] = [
    "in",
    "for",
    "of",
    "with",
    "from",
    "at",
    "on",
    "by",
    "during",
    "after",
    "each",
    "every",
    "per",
    "left",
    "remaining",
    "to",
];

fn words<'i, 't: 'i, 'a: 'i>(
    items: &'i [Item<'t, 'a>],
) -> impl Iterator<Item = &'t Token<'a>> + use<'i, 't, 'a> {
    items.iter().filter_map(|item| match item {
        Item::Word(word) => Some(*word),
        Item::Value(_) => None,
    })
}

fn is_verb(role: Role) -> bool {
    matches!(role, Role::Result | Role::Verb | Role::Past)
}

/// The part of a value that words before it lead to; `None` where they lead to none.
fn stated_value<'t, 'a>(
    text: &str,
    words: &[&Token<'_>],
    value: &'t [Token<'a>],
    follows_value: bool,
) -> Option<&'t [Token<'a>]> {
    let first = value.first()?;
    if first.is_mark(&['=', '≈']) {
        let last = value.iter().rposition(|token| token.is_mark(&['=', '≈']))?;
        return Some(without_currency(&value[last + 1..]));
    }
    let is_hyphen = first.is_mark(&['-', '−']) && text[..first.at].ends_with(char::is_alphanumeric);
    if is_hyphen
        || first
            .is_mark(&['*', '/', '+', '^', '<', '>', '|', '%', '}', '_', '≠', '≤', '≥', '±', '×', '÷', '·'])
    {
        return None;
    }
    // "9 * 60 = 540 meters" says what is computed and the result.
    if let Some(equals) = value.iter().rposition(|token| token.is_mark(&['=']))
        && is_sum(&value[..equals])
    {
        return Some(without_currency(&value[equals + 1..]));
    }
    // "Final answer - 42"
    let is_dash =
        first.is_mark(&['-']) && value.get(1).is_some_and(|next| next.at > first.end()) && !words.is_empty();
    let value = if is_dash { &value[1..] } else { value };
    if follows_value
        && (!words.iter().any(|word| word.role.is_some_and(is_verb)) || words[0].role == Some(Role::Joint))
    {
        return None;
    }
    match words.last() {
        None => Some(value),
        Some(word) => match word.role {
            Some(Role::Joint | Role::Others | Role::Setting | Role::Reason) => None,
            Some(_) => Some(value),
            None => behind_label(words, value),
        },
    }
}

/// Whether a left side consists of numbers alone, perhaps with "x" between them as the sign of
/// multiplication; other letters name what the right side is of.
fn is_sum(left: &[Token<'_>]) -> bool {
    let is_number = |at: Option<usize>| {
        let token = at.and_then(|at| left.get(at));
        token.is_some_and(|token| token.kind == Kind::Number || token.is_mark(&['$', '(', ')']))
    };
    let is_times =
        |at: usize| left[at].text == "x" && is_number(at.checked_sub(1)) && is_number(Some(at + 1));
    let is_part = |at: usize| match left[at].kind {
        Kind::Word => is_times(at),
        Kind::Number | Kind::Mark(_) => true,
        Kind::Formula | Kind::Command | Kind::Line => false,
    };
    left.iter().any(|token| token.kind == Kind::Number) && (0..left.len()).all(is_part)
}

fn without_currency<'t, 'a>(value: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match value {
        [sign, rest @ ..] if sign.is_mark(&['$']) => rest,
        other => other,
    }
}

/// A number behind a noun in the singular is the noun's own, "text 2"; of a list the others are not: "text 2
/// and 10".
fn behind_label<'t, 'a>(words: &[&Token<'_>], value: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let is_plural = words.last().is_some_and(|word| word.text.ends_with('s'));
    let has_verb = words.iter().any(|word| word.role.is_some_and(is_verb));
    let joint = value.iter().rposition(|token| token.role == Some(Role::Joint))?;
    (!is_plural && !has_verb).then(|| &value[joint + 1..])
}

/// The text that tokens take up.
fn span<'a>(text: &'a str, tokens: &[Token<'_>]) -> &'a str {
    let start = tokens.first().map_or(0, |token| token.at);
    &text[start..tokens.last().map_or(start, Token::end)]
}

/// A formula without its delimiters.
fn inside(formula: &str) -> &str {
    let length = if formula.starts_with("$") && !formula.starts_with("$$") { 1 } else { 2 };
    formula[length..formula.len() - length].trim()
}
