//! The tokens of a LaTeX or plain-text answer.

use crate::braces::group;

/// A token, and whether white space precedes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) spaced: bool,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Digits with at most one decimal point.
    Number(String),
    /// A run of letters outside commands.
    Word(String),
    /// A command by its name without the backslash.
    Command(String),
    /// The content of `\text{…}` and similar commands.
    Text(String),
    /// Any other character.
    Mark(char),
}

impl Kind {
    /// Whether it is a command with one of these names.
    pub(crate) fn is_command(&self, names: &[&str]) -> bool {
        matches!(self, Kind::Command(name) if names.contains(&name.as_str()))
    }
}

// The parser bounds nesting; this bounds the length of lists and sums.
/// The most tokens an answer may have.
const MOST_TOKENS: usize = 20_000;

/// Commands whose braces hold words, not formulas.
#[rustfmt::skip]
const TEXT_COMMANDS: [&str; 12] = [
    "text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "mathrm", "operatorname",
    "mathbf", "rm",
];

/// Commands that only set type or space.
#[rustfmt::skip]
const IGNORED: [&str; 33] = [
    // Sizes of brackets.
    "left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
    "biggr", "Biggl", "Biggr",
    // Sizes of formulas, and spaces.
    "displaystyle", "textstyle", "limits", "nolimits", "quad", "qquad", "hspace", "hfill",
    // Typefaces, and boxes around formulas.
    "bf", "it", "boldsymbol", "bm", "mathit", "mathsf", "mathcal", "mathnormal", "boxed", "fbox",
];

/// Functions that are as often set as text.
#[rustfmt::skip]
const TEXT_FUNCTIONS: [&str; 13] = [
    "sin", "cos", "tan", "ln", "log", "arcsin", "arccos", "arctan", "lcm", "gcd", "sec", "csc", "cot",
];

/// Characters that commands write too.
const COMMAND_CHARACTERS: [(&str, &str); 24] = [
    ("×·⋅∙", "cdot"),
    ("≤⩽", "le"),
    ("≥⩾", "ge"),
    ("≠", "neq"),
    ("≈", "approx"),
    ("≡", "equiv"),
    ("±", "pm"),
    ("∓", "mp"),
    ("∞", "infty"),
    ("∪", "cup"),
    ("∈", "in"),
    ("∅", "emptyset"),
    ("ℝ", "R"),
    ("π", "pi"),
    ("θ", "theta"),
    ("α", "alpha"),
    ("β", "beta"),
    ("λ", "lambda"),
    ("ω", "omega"),
    ("φ", "phi"),
    ("√", "sqrt"),
    ("°º", "degree"),
    ("⟨", "langle"),
    ("⟩", "rangle"),
];

/// Splits `text` into tokens; `None` if it has more than any answer.
pub(crate) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut scanner = Scanner { rest: text, tokens: Vec::new(), spaced: false };
    while let Some(first) = scanner.rest.chars().next() {
        scanner.step(first);
        if scanner.tokens.len() > MOST_TOKENS {
            return None;
        }
    }
    Some(scanner.tokens)
}

struct Scanner<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    spaced: bool,
}

impl<'a> Scanner<'a> {
    fn step(&mut self, first: char) {
        match first {
            // Blanks are kept as a property of the next token: they matter to numbers and units alone.
            _ if is_blank(first) => {
                self.advance(first.len_utf8());
                self.spaced = true;
            }
            '\\' => self.command(),
            '0'..='9' | '.' if self.number_length() > 0 => self.take(self.number_length(), Kind::Number),
            _ if first.is_ascii_alphabetic() => self.take(letters(self.rest), Kind::Word),
            _ => {
                self.advance(first.len_utf8());
                self.push(plain(first));
            }
        }
    }

    /// Takes a token that consists of the next `length` bytes.
    fn take(&mut self, length: usize, kind: fn(String) -> Kind) {
        let text = self.advance(length).to_owned();
        self.push(kind(text));
    }

    fn advance(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, spaced: self.spaced });
        self.spaced = false;
    }

    /// The length of digits with at most one point among or before them; a point with no digit after it ends
    /// a sentence.
    fn number_length(&self) -> usize {
        let whole = digits(self.rest);
        let Some(after_point) = self.rest[whole..].strip_prefix('.') else {
            return whole;
        };
        let fraction = digits(after_point);
        // `0.\overline{3}` has no digit after its point, and is a number all the same.
        let repeats = whole > 0 && REPETITIONS.iter().any(|mark| after_point.starts_with(mark));
        if fraction > 0 || repeats { whole + 1 + fraction } else { whole }
    }

    fn command(&mut self) {
        let length = letters(&self.rest[1..]);
        if length == 0 {
            return self.control_symbol();
        }
        let name = &self.advance(1 + length)[1..];
        if TEXT_COMMANDS.contains(&name) {
            return self.words();
        }
        if !IGNORED.contains(&name) {
            return self.push(Kind::Command(name.to_owned()));
        }
        // `\left.` and `\right.` draw nothing.
        if matches!(name, "left" | "right") && self.rest.starts_with('.') {
            self.advance(1);
        }
    }

    /// A backslash before a character that is no letter.
    fn control_symbol(&mut self) {
        let Some(symbol) = self.rest[1..].chars().next() else {
            self.advance(1);
            return self.push(Kind::Mark('\\'));
        };
        self.advance(1 + symbol.len_utf8());
        match symbol {
            // Spaces, and delimiters of formulas.
            ',' | '!' | ';' | ':' | ' ' | '>' | '/' | '(' | ')' | '[' | ']' => self.spaced = true,
            '\\' | '{' | '}' | '$' | '|' => self.push(Kind::Command(symbol.to_string())),
            _ => self.push(Kind::Mark(symbol)),
        }
    }

    /// The group after a text command: a formula if it reads as one, otherwise words.
    fn words(&mut self) {
        self.rest = self.rest.trim_start();
        let Some(content) = group(self.rest) else {
            return;
        };
        self.advance(content.len() + 2);
        self.set_as_text(without_spacing(content).trim().trim_matches('"'));
        self.spaced = true;
    }

    fn set_as_text(&mut self, text: &str) {
        match text {
            "" => {}
            // In upright letters these are the constants, which a text of one letter would hide.
            "i" | "e" => self.push(Kind::Word(text.to_owned())),
            // `\text{5 cm}` is set as text and means a quantity.
            _ if is_formula(text) => self.tokens.extend(tokens(text).unwrap_or_default()),
            _ => {
                let words: Vec<&str> = text.split_whitespace().collect();
                self.push(Kind::Text(words.join(" ")));
            }
        }
    }
}

/// A dollar sign ends a formula: what follows is apart, as after a blank.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '~' | '$' | '\u{200b}' | '\u{feff}')
}

/// Commands that mark the period of a decimal.
const REPETITIONS: [&str; 3] = ["\\overline", "\\dot", "\\bar"];

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// How many letters a text begins with.
fn letters(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphabetic).count()
}

fn without_spacing(text: &str) -> String {
    // The last one: backslashes that are left escape characters, such as `\%`.
    text.replace(['~', '$', '\u{a0}'], " ").replace("\\ ", " ").replace("\\,", " ").replace('\\', "")
}

/// Whether words in a text command are a number, perhaps with its unit, a sign, a function or an option's
/// letter.
fn is_formula(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        || is_number(core(text))
        || matches!(text, "=" | "<" | ">" | "," | ";" | "+" | "-" | "(" | ")")
        || TEXT_FUNCTIONS.contains(&text)
        || is_option(text)
}

/// A text without the brackets, signs and punctuation around it.
fn core(text: &str) -> &str {
    text.trim_matches(['(', ')', '-', '+', '%', ',', '.'])
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '/'))
}

/// `(C)`
fn is_option(text: &str) -> bool {
    let bracketed = text.len() == 3 && text.starts_with('(') && text.ends_with(')');
    bracketed && core(text).bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A character outside ASCII by what it stands for.
fn plain(character: char) -> Kind {
    match character {
        '÷' => Kind::Mark('/'),
        '−' | '–' | '—' => Kind::Mark('-'),
        '′' | '’' => Kind::Mark('\''),
        '，' | '、' => Kind::Mark(','),
        '（' => Kind::Mark('('),
        '）' => Kind::Mark(')'),
        // A digit in full width.
        '０'..='９' => Kind::Number((u32::from(character) - u32::from('０')).to_string()),
        _ => command_of(character).map_or(Kind::Mark(character), |name| Kind::Command(name.to_owned())),
    }
}

fn command_of(character: char) -> Option<&'static str> {
    COMMAND_CHARACTERS.iter().find(|(characters, _)| characters.contains(character)).map(|(_, name)| *name)
}
