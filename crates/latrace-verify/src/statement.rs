//! Which option a text states, where nothing marks its answer.
//!
//! A text is read clause by clause. A clause states an option where it names one letter and all of its other
//! words are understood (`lexicon.txt`): "so it must be (B)", "I choose B", "B is correct". It denies the
//! letters that it names beside words such as "not", "wrong" or "eliminate", and leaves them open beside
//! "if", "either", "maybe", or a question mark. A word that is not understood ("vitamin C", "Mr. B") states
//! nothing. A letter alone states an option at the text's beginning or end, or behind words such as "so". The
//! last statement counts, unless what follows it denies its letter, leaves it open, or takes it back.
//!
//! What stands behind a label, as in "(B) cheesecake", is the option's own text. It may hold any words where
//! it is known to be that, and none that deny where it is not.

use crate::letter::{is_letter, unmarked_sentences};
use crate::lexicon::{Role, is_unspaced};
use crate::sentence::{Kind, Token, ends_sentence, tokens};
use crate::stance::{WINDOW, is_one_of, last_bytes, takes_back};

/// What is known of a text behind a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoted {
    /// It is the text of the letter's option.
    Own,
    /// It is the text of another option.
    Another,
    /// It is neither.
    Unknown,
}

/// The texts of options.
pub(crate) trait Texts {
    /// Whether a text is that of a letter's option.
    fn quoted(&self, letter: char, text: &str) -> Quoted;
}

/// Options of which only the letters are known.
struct NoTexts;

impl Texts for NoTexts {
    fn quoted(&self, _: char, _: &str) -> Quoted {
        Quoted::Unknown
    }
}

/// The options of a question, as far as a statement needs them.
pub(crate) struct Letters<'a> {
    /// How many there are.
    pub(crate) count: usize,
    pub(crate) texts: &'a dyn Texts,
}

impl Letters<'_> {
    /// Letters alone.
    pub(crate) fn without_texts(count: usize) -> Letters<'static> {
        Letters { count, texts: &NoTexts }
    }

    fn has(&self, letter: char) -> bool {
        letter.is_ascii_uppercase() && (letter as usize - 'A' as usize) < self.count
    }
}

/// The option that a text states.
pub(crate) fn stated(text: &str, letters: &Letters<'_>) -> Option<char> {
    last_statement(&clauses(text, letters))
}

fn clauses(text: &str, letters: &Letters<'_>) -> Vec<Clause> {
    let end = last_bytes(text, WINDOW);
    let is_cut = end.len() < text.len();
    let text = unmarked_sentences(end);
    let tokens = tokens(&text);
    let mut reader = Reader {
        text: &text,
        tokens: &tokens,
        letters,
        clauses: Vec::new(),
        clause: Clause::default(),
        letter_end: usize::MAX,
    };
    reader.read();
    // Nothing is known of a sentence whose beginning was not read.
    let unread = reader.clauses.iter_mut().take_while(|clause| is_cut && clause.sentence == 0);
    unread.for_each(|clause| clause.is_unclear = true);
    reader.clauses
}

/// The clauses of the sentence that the clause at `at` is a part of.
fn sentence(clauses: &[Clause], at: usize) -> &[Clause] {
    let is_same = |other: &&Clause| other.sentence == clauses[at].sentence;
    let before = clauses[..at].iter().rev().take_while(is_same).count();
    let behind = clauses[at..].iter().take_while(is_same).count();
    &clauses[at - before..at + behind]
}

/// A part of a sentence, and the letters that it names.
#[derive(Clone, Debug, Default)]
struct Clause {
    /// The sentence that it is a part of, and the line.
    sentence: usize,
    slots: Vec<char>,
    roles: Vec<Role>,
    /// Whether there are words that are not understood.
    is_unclear: bool,
    /// Whether the text behind its letter is that of another option.
    contradicts: bool,
    /// Whether text of an option stands behind its letter.
    is_quoted: bool,
    /// Whether it begins with a word that refers to the clause before, "that".
    refers: bool,
    /// Whether a letter is its first word.
    begins_with_letter: bool,
    /// Whether it begins with "which".
    is_relative: bool,
    /// Whether its first word is not understood.
    begins_unclear: bool,
    /// Whether its last word is a verb of which the rest is missing, "is".
    ends_in_copula: bool,
    /// Whether its sentence is a question.
    is_question: bool,
    /// Whether it takes back what was said before it.
    takes_back: bool,
    /// Where its first token is.
    start: usize,
}

/// What a clause says of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stance {
    /// It is this one.
    States(char),
    /// A letter, and nothing more.
    Bare(char),
    /// It is none of the letters named.
    Denies,
    /// It may be one of those named.
    LeavesOpen,
    /// What was said before is wrong.
    TakesBack,
    /// Nothing that is understood.
    Silent,
}

/// The most tokens of an option's text in brackets behind its letter.
const LONGEST_TEXT: usize = 100;

/// Verbs that say nothing by themselves.
const COPULAS: [&str; 9] = ["is", "are", "be", "being", "has", "have", "will", "must", "should"];

/// Words of the lexicon before which "A" is an article, as it is before words that are in none.
const ADJECTIVES: [&str; 10] =
    ["final", "main", "proper", "single", "very", "better", "suitable", "sure", "confident", "certain"];

/// What may stand between a letter and the text of its option.
const LABELS: [char; 7] = [')', ']', ':', '：', '-', '–', '—'];

/// Reads clauses from tokens.
struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
    letters: &'a Letters<'a>,
    clauses: Vec<Clause>,
    clause: Clause,
    /// Where the last letter ends.
    letter_end: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.step(at);
        }
        self.end_clause(at);
    }

    /// Reads what stands at `at`, and returns where to continue.
    fn step(&mut self, at: usize) -> usize {
        if let Some((letter, length)) = self.slot(at) {
            return self.take_slot(letter, at + length);
        }
        if ends_sentence(self.tokens, at) {
            self.end_sentence(at);
        } else if self.tokens[at].is_mark(&[',', '，', '、', '(', ')', '—', '–']) {
            if !self.joins_letters(at) {
                self.end_clause(at + 1);
            }
        } else if self.opens_clause(at) {
            self.end_clause(at);
            self.take_word(at);
        } else if matches!(self.tokens[at].kind, Kind::Word | Kind::Number | Kind::Formula | Kind::Command) {
            self.take_word(at);
        }
        at + 1
    }

    fn opens_clause(&self, at: usize) -> bool {
        let opens = |role: Option<Role>| {
            matches!(role, Some(Role::Turn | Role::Contrast | Role::Reason | Role::Pause))
        };
        // "It is so late" has no second clause.
        let is_degree = |at: usize| {
            self.tokens[at].text.eq_ignore_ascii_case("so")
                && at > 0
                && self.tokens[at - 1].role == Some(Role::Result)
        };
        // Each word of a phrase has its role; a phrase opens one clause.
        opens(self.tokens[at].role)
            && !is_degree(at)
            && (at == 0 || self.tokens[at - 1].role != self.tokens[at].role)
    }

    fn take_word(&mut self, at: usize) {
        let token = &self.tokens[at];
        if self.clause.roles.is_empty() && self.clause.slots.is_empty() && !self.clause.is_unclear {
            self.clause.refers = token.text.eq_ignore_ascii_case("that");
            self.clause.is_relative = is_one_of(token, &["which", "being"]);
            self.clause.begins_unclear = token.role.is_none();
        }
        // "C it is" lacks nothing.
        let follows_it = at > 0 && is_one_of(&self.tokens[at - 1], &["it"]);
        self.clause.ends_in_copula = is_one_of(token, &COPULAS) && !follows_it;
        match token.role {
            // Words of an option that nothing marks as one.
            Some(Role::Quote) | None => self.clause.is_unclear = true,
            Some(role) => self.clause.roles.push(role),
        }
    }

    fn end_clause(&mut self, next: usize) {
        let tokens = &self.tokens[self.clause.start.min(next)..next.min(self.tokens.len())];
        let sentence = self.clause.sentence;
        self.clause.takes_back = self.clause.slots.is_empty() && takes_back(tokens);
        let clause =
            std::mem::replace(&mut self.clause, Clause { sentence, start: next, ..Clause::default() });
        if !clause.slots.is_empty() || !clause.roles.is_empty() || clause.is_unclear {
            self.clauses.push(clause);
        }
    }

    fn end_sentence(&mut self, at: usize) {
        self.end_clause(at + 1);
        if self.tokens[at].is_mark(&['?', '？']) {
            let sentence = self.clause.sentence;
            let asked = self.clauses.iter_mut().rev().take_while(|clause| clause.sentence == sentence);
            asked.for_each(|clause| clause.is_question = true);
        }
        self.clause.sentence += 1;
    }

    /// Takes a letter, and the text of its option behind it.
    fn take_slot(&mut self, letter: char, end: usize) -> usize {
        let is_first =
            self.clause.roles.is_empty() && self.clause.slots.is_empty() && !self.clause.is_unclear;
        self.clause.begins_with_letter |= is_first;
        self.clause.ends_in_copula = false;
        self.clause.slots.push(letter);
        self.letter_end = end;
        let end = self.take_parenthesis(letter, end);
        let is_label = self.tokens[end - 1].is_mark(&[')', ']'])
            || self.tokens.get(end).is_some_and(|token| token.is_mark(&LABELS));
        let is_clear = !self.clause.is_unclear && !self.clause.roles.iter().any(|role| role.is_against());
        if is_label && is_clear && self.clause.slots.len() == 1 { self.take_quote(letter, end) } else { end }
    }

    /// Whether a comma joins two letters, as in `A, B are wrong`. In `D, C is wrong` the second one begins a
    /// clause of its own.
    fn joins_letters(&self, comma: usize) -> bool {
        let joint = self.tokens.get(comma + 1).is_some_and(|token| token.role == Some(Role::Joint));
        let next = comma + 1 + usize::from(joint);
        let Some((_, length)) = (next < self.tokens.len()).then(|| self.slot(next)).flatten() else {
            return false;
        };
        let is_singular = |token: &Token<'_>| {
            !token.text.eq_ignore_ascii_case("are")
                && matches!(
                    token.role,
                    Some(Role::Result | Role::Past | Role::Denial | Role::Reject | Role::Doubt)
                )
        };
        self.letter_end == comma && !self.tokens.get(next + length).is_some_and(is_singular)
    }

    /// Takes `(cheesecake)` behind a letter, if it is the text of an option.
    fn take_parenthesis(&mut self, letter: char, end: usize) -> usize {
        let opens = self.tokens.get(end).is_some_and(|token| token.is_mark(&['(']));
        let close = || {
            let mut near = self.tokens[end..].iter().take(LONGEST_TEXT);
            near.position(|token| token.is_mark(&[')'])).map(|at| end + at)
        };
        let Some(close) = opens.then(close).flatten() else {
            return end;
        };
        let inside = self.text[self.tokens[end].end()..self.tokens[close].at].trim();
        self.take_text(letter, inside).map_or(end, |()| close + 1)
    }

    /// Notes the text of an option behind its letter; `None` where it is none.
    fn take_text(&mut self, letter: char, text: &str) -> Option<()> {
        let quoted = self.letters.texts.quoted(letter, text);
        self.clause.contradicts |= quoted == Quoted::Another;
        self.clause.is_quoted |= quoted != Quoted::Unknown;
        (quoted != Quoted::Unknown).then_some(())
    }

    /// Takes what a label is of: to the line's end if it is the text of an option, to the sentence's end if
    /// it may be.
    fn take_quote(&mut self, letter: char, end: usize) -> usize {
        let labels = self.tokens[end..].iter().take_while(|token| token.is_mark(&LABELS)).count();
        let start = end + labels;
        let find = |ends: &dyn Fn(usize) -> bool| {
            (start..self.tokens.len()).find(|at| ends(*at)).unwrap_or(self.tokens.len())
        };
        let line = find(&|at| self.tokens[at].kind == Kind::Line);
        let sentence = find(&|at| ends_sentence(self.tokens, at));
        if start >= sentence {
            return end;
        }
        let text = |to: usize| self.text[self.tokens[start].at..self.tokens[to - 1].end()].trim();
        for to in [line, sentence] {
            if self.take_text(letter, text(to)).is_some() {
                return to;
            }
        }
        if !self.may_be_quote(start, sentence) {
            return end;
        }
        self.clause.is_quoted = true;
        sentence
    }

    /// Whether words may be the text of an option: no verb about a letter comes first, and nothing denies.
    fn may_be_quote(&self, start: usize, end: usize) -> bool {
        // "Vitamin A" names no option; "(B)" does, and so does "or B".
        let is_choice = |at: usize| {
            let is_named =
                at > start && self.tokens[at - 1].kind == Kind::Word && self.tokens[at - 1].role.is_none();
            let is_all = at == start && end == start + 1;
            self.slot(at).is_some_and(|(_, length)| length > 1 || !(is_named || is_all))
        };
        may_be_quote(&self.tokens[start..end]) && !(start..end).any(is_choice)
    }

    /// The letter of an option that stands at `at`, in brackets or alone, and how many tokens it takes.
    fn slot(&self, at: usize) -> Option<(char, usize)> {
        let letter = |at: usize| {
            let token =
                self.tokens.get(at).filter(|token| token.kind == Kind::Word && token.text.len() == 1)?;
            token.text.chars().next()
        };
        let closes = |at: usize| self.tokens.get(at).is_some_and(|token| token.is_mark(&[')', ']', '>']));
        if self.tokens[at].is_mark(&['(', '[', '<']) && closes(at + 2) {
            let letter = letter(at + 1)?.to_ascii_uppercase();
            return self.letters.has(letter).then_some((letter, 3));
        }
        let found = letter(at)?;
        let is_alone = || !self.is_in_expression(at) && !self.is_in_sentence(found, at);
        if self.letters.has(found) {
            return is_alone().then_some((found, 1));
        }
        let upper = found.to_ascii_uppercase();
        (self.letters.has(upper) && self.is_named(at) && is_alone()).then_some((upper, 1))
    }

    /// Whether a lower-case letter is all that an answer or an option is said to be.
    fn is_named(&self, at: usize) -> bool {
        let before =
            self.tokens[..at].iter().rfind(|token| !matches!(token.kind, Kind::Mark(_) | Kind::Line));
        let ends = at + 1 == self.tokens.len() || ends_sentence(self.tokens, at + 1);
        ends && before.is_none_or(|word| word.role == Some(Role::Answer))
    }

    /// `B-12`, `B = 3`, `A'`, `x_B`: letters of a formula or a name.
    fn is_in_expression(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let before =
            at.checked_sub(1).map(|before| &self.tokens[before]).filter(|other| other.end() == token.at);
        let behind = self.tokens.get(at + 1).filter(|other| other.at == token.end());
        const JOINTS: [char; 11] = ['-', '+', '^', '_', '\'', '’', '°', '%', '*', '|', '@'];
        let is_word = |other: &Token<'_>| other.kind == Kind::Word && !other.text.ends_with(is_unspaced);
        let joins =
            |other: &Token<'_>| other.kind == Kind::Number || is_word(other) || other.is_mark(&JOINTS);
        let is_compared = self.tokens.get(at + 1).is_some_and(|next| next.is_mark(&['=', '<', '+']));
        is_compared
            || before.is_some_and(joins)
            || behind.is_some_and(|other| joins(other) || other.is_mark(&['(', '[']))
    }

    /// `A good question` and `I think` are no choices, `A is right` and `A, C` are.
    fn is_in_sentence(&self, letter: char, at: usize) -> bool {
        let Some(next) = self.tokens.get(at + 1).filter(|next| next.kind == Kind::Word) else {
            return false;
        };
        let is_copula = next.text.eq_ignore_ascii_case("is");
        match letter {
            'I' => !is_copula,
            // "A" before an adjective or a noun is an article.
            'A' => {
                !is_letter(next.text)
                    && (is_one_of(next, &ADJECTIVES)
                        || matches!(next.role, None | Some(Role::Answer | Role::Others | Role::Setting)))
            }
            _ => false,
        }
    }
}

/// Whether words behind a label may be the text of its option.
pub(crate) fn may_be_quote(words: &[Token<'_>]) -> bool {
    let tells = |role: Role| {
        role.is_against()
            || matches!(
                role,
                Role::Result | Role::Past | Role::Turn | Role::Contrast | Role::Reason | Role::Joint
            )
    };
    let first = words.iter().find(|token| token.kind != Kind::Line);
    // "(B) yes" says something of B.
    let approves = words.iter().all(|token| matches!(token.role, Some(Role::Plain | Role::Answer)))
        && words.iter().any(|token| token.role == Some(Role::Answer));
    let denies = |token: &Token<'_>| token.role.is_some_and(Role::is_against);
    !approves
        && !first.is_some_and(|token| token.role.is_some_and(tells) || token.is_mark(&[',']))
        && !words.iter().any(denies)
}

/// The letter of the last clause that states one, unless a later clause speaks against it.
fn last_statement(clauses: &[Clause]) -> Option<char> {
    let mut contested: Vec<char> = Vec::new();
    let mut alone = None;
    let mut open_sentence = None;
    for at in (0..clauses.len()).rev() {
        let chosen = match stance(clauses, at) {
            Stance::TakesBack => return None,
            Stance::Denies => {
                contested.extend(&clauses[at].slots);
                continue;
            }
            Stance::LeavesOpen => {
                contested.extend(alternatives(clauses, at));
                continue;
            }
            Stance::States(letter) => letter,
            Stance::Bare(letter) if stands_for_answer(clauses, at) => letter,
            Stance::Bare(letter) => {
                // A letter that stands alone behind the statement of another: which one is meant is unknown.
                alone = alone.or(Some(letter).filter(|_| !clauses[at].is_quoted));
                continue;
            }
            Stance::Silent => {
                if is_open_behind_letter(&clauses[at]) {
                    open_sentence = Some(clauses[at].sentence);
                }
                continue;
            }
        };
        let is_contested = open_sentence == Some(clauses[at].sentence)
            || contested.contains(&chosen)
            || alone.is_some_and(|other| other != chosen);
        return (!is_contested).then_some(chosen);
    }
    None
}

/// The letters that a clause leaves open: with "or maybe B" those before it in the sentence too.
fn alternatives(clauses: &[Clause], at: usize) -> impl Iterator<Item = &char> {
    let clause = &clauses[at];
    let is_joined = clause.roles.first() == Some(&Role::Joint);
    let before =
        clauses[..at].iter().rev().take_while(move |other| is_joined && other.sentence == clause.sentence);
    before.chain([clause]).flat_map(|clause| &clause.slots)
}

fn stance(clauses: &[Clause], at: usize) -> Stance {
    let clause = &clauses[at];
    let Some(letter) = clause.slots.first().copied() else {
        return if takes_back_here(clauses, at) { Stance::TakesBack } else { Stance::Silent };
    };
    let has = |wanted: Role| clause.roles.contains(&wanted);
    let depends = sentence(clauses, at).iter().any(|other| other.roles.contains(&Role::Condition));
    if clause.roles.iter().any(|role| role.denies()) || refers_to_denial(clauses, at) {
        return Stance::Denies;
    }
    let is_several = clause.slots.iter().any(|other| *other != letter);
    let opens_question = clause.start_of_sentence(clauses, at)
        && !clause.begins_with_letter
        && clause.roles.first() == Some(&Role::Result);
    let is_open = [Role::Doubt, Role::Past, Role::Setting, Role::Others, Role::Verb].into_iter().any(has)
        || (has(Role::Joint) && clause.roles.first() != Some(&Role::Joint));
    if depends || clause.ends_in_copula || is_several || clause.is_question || clause.contradicts || is_open {
        return Stance::LeavesOpen;
    }
    if clause.is_unclear || opens_question {
        return Stance::Silent;
    }
    let says = [Role::Choose, Role::Answer, Role::Result, Role::Lead].into_iter().any(has);
    if says { Stance::States(letter) } else { Stance::Bare(letter) }
}

impl Clause {
    fn start_of_sentence(&self, clauses: &[Clause], at: usize) -> bool {
        at == 0 || clauses[at - 1].sentence != self.sentence
    }
}

/// Whether a clause without letters takes back what was said: of its own sentence anything that is against
/// it, unless it gives a reason or speaks of other options.
fn takes_back_here(clauses: &[Clause], at: usize) -> bool {
    let clause = &clauses[at];
    let is_behind_letter = || {
        clauses[..at]
            .iter()
            .rev()
            .take_while(|other| other.sentence == clause.sentence)
            .any(|other| !other.slots.is_empty())
    };
    let is_exempt = clause.roles.contains(&Role::Others) || clause.roles.first() == Some(&Role::Reason);
    let is_against = clause.roles.iter().any(|role| role.is_against());
    !is_exempt && (clause.takes_back || (is_against && is_behind_letter()))
}

/// Whether a clause without letters goes on from an answer in a way that is not understood: "B, whispered the
/// fool", but not "B, because of the heat".
fn is_open_behind_letter(clause: &Clause) -> bool {
    let is_led = clause.is_relative
        || (matches!(clause.roles.first(), Some(Role::Turn | Role::Reason)) && !clause.begins_unclear);
    clause.slots.is_empty() && clause.is_unclear && !is_led && !clause.roles.contains(&Role::Others)
}

/// "It is not true, that it is B."
fn refers_to_denial(clauses: &[Clause], at: usize) -> bool {
    let clause = &clauses[at];
    let is_before = at > 0 && clauses[at - 1].sentence == clause.sentence;
    clause.refers && is_before && clauses[at - 1].roles.iter().any(|role| role.is_against())
}

/// Whether a letter that stands alone is meant as an answer: behind words such as "so", behind a reason or a
/// denial, or at the beginning or the end of a text that lists no other.
fn stands_for_answer(clauses: &[Clause], at: usize) -> bool {
    let clause = &clauses[at];
    let before = at.checked_sub(1).map(|before| &clauses[before]);
    let before_here = before.filter(|before| before.sentence == clause.sentence);
    match clause.roles.first() {
        Some(Role::Turn) => return true,
        Some(Role::Contrast) => {
            return before_here.is_some_and(|before| before.roles.iter().any(|role| role.denies()));
        }
        _ => {}
    }
    let is_last = at + 1 == clauses.len();
    if let Some(before) = before_here {
        let leads = !before.is_unclear || before.roles.first() == Some(&Role::Reason);
        let is_against = before.roles.iter().any(|role| role.is_against());
        return is_last && leads && !is_against && before.slots.is_empty();
    }
    let is_listed = |other: &Clause| {
        let is_same = other.slots.iter().all(|slot| clause.slots.contains(slot));
        !is_same && !other.roles.iter().any(|role| role.denies())
    };
    let is_first = at == 0 && !clauses.iter().any(is_listed);
    is_first
        || (is_last && !clause.is_quoted && !before.is_some_and(is_listed))
        || (is_last && !clauses.iter().any(is_listed))
}
