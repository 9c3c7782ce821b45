//! The tokens of a LaTeX or plain-text answer.

use super::functions::{function_named, is_plain_command};
use super::unit;
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

fn begins_with_value(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with("\\{") || text.starts_with(|first: char| first.is_ascii_digit() || "([-".contains(first))
}

/// Whether a text holds a command that is not one of words or space.
fn has_command(text: &str) -> bool {
    let mut commands = text.split('\\').skip(1).map(|behind| &behind[..letters(behind)]);
    commands.any(|name| !name.is_empty() && !TEXT_COMMANDS.contains(&name) && !IGNORED.contains(&name))
}

/// The most bytes that are searched for the ends of groups.
const MOST_SEARCHED: usize = 1_000_000;

/// Commands whose braces hold words, not formulas.
#[rustfmt::skip]
const TEXT_COMMANDS: [&str; 17] = [
    "text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "mathrm", "mathbf", "rm",
    "textup", "textmd", "textsl", "textsc", "emph", "hbox",
];

/// Commands that only set type or space.
#[rustfmt::skip]
const IGNORED: [&str; 64] = [
    // Sizes of brackets.
    "left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
    "biggr", "Biggl", "Biggr",
    // Sizes of formulas and letters.
    "displaystyle", "textstyle", "scriptstyle", "scriptscriptstyle", "limits", "nolimits", "tiny",
    "scriptsize", "footnotesize", "small", "normalsize", "large", "Large", "LARGE", "huge", "Huge",
    // Spaces, and what has none.
    "quad", "qquad", "hfill", "enspace", "enskip", "thinspace", "medspace", "thickspace", "negthinspace",
    "space", "nobreak", "allowbreak", "strut", "mathstrut", "nonumber", "notag", "newline",
    // Typefaces, and boxes and lines around formulas.
    "bf", "it", "boldsymbol", "bm", "pmb", "bold", "mathit", "mathsf", "mathcal", "mathnormal", "bfseries",
    "boxed", "fbox", "underline", "uline", "ensuremath",
];

/// Commands whose first groups are colours, lengths or labels, and how many those are.
const UNSEEN: [(&str, usize); 10] = [
    ("color", 1),
    ("textcolor", 1),
    ("colorbox", 1),
    ("fcolorbox", 2),
    ("hspace", 1),
    ("vspace", 1),
    ("phantom", 1),
    ("hphantom", 1),
    ("vphantom", 1),
    ("label", 1),
];

/// Characters that commands write too.
const COMMAND_CHARACTERS: [(&str, &str); 57] = [
    ("×·⋅∙", "cdot"),
    ("≤⩽", "le"),
    ("≥⩾", "ge"),
    ("≠", "neq"),
    ("≈≃", "approx"),
    ("≡", "equiv"),
    ("±", "pm"),
    ("∓", "mp"),
    ("∞", "infty"),
    ("∪", "cup"),
    ("∈", "in"),
    ("∅", "emptyset"),
    ("∩", "cap"),
    ("∖", "setminus"),
    ("∧", "land"),
    ("∨", "lor"),
    ("∀", "forall"),
    ("∑", "sum"),
    ("∏", "prod"),
    ("∫", "int"),
    ("…⋯", "ldots"),
    ("∠", "angle"),
    ("△", "triangle"),
    ("⌊", "lfloor"),
    ("⌋", "rfloor"),
    ("⌈", "lceil"),
    ("⌉", "rceil"),
    ("ℝ", "R"),
    ("ℤ", "Z"),
    ("ℕ", "N"),
    ("ℚ", "Q"),
    ("π", "pi"),
    ("θϑ", "theta"),
    ("α", "alpha"),
    ("β", "beta"),
    ("γ", "gamma"),
    ("δ", "delta"),
    ("εϵ", "epsilon"),
    ("η", "eta"),
    ("κ", "kappa"),
    ("λ", "lambda"),
    ("μµ", "mu"),
    ("ν", "nu"),
    ("ξ", "xi"),
    ("ρ", "rho"),
    ("σ", "sigma"),
    ("τ", "tau"),
    ("ω", "omega"),
    ("φϕ", "phi"),
    ("χ", "chi"),
    ("ψ", "psi"),
    ("Δ∆", "Delta"),
    ("Φ", "Phi"),
    ("√", "sqrt"),
    ("°º∘", "degree"),
    ("⟨", "langle"),
    ("⟩", "rangle"),
];

/// Splits `text` into tokens; `None` if it has more than any answer.
pub(crate) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut scanner = Scanner { rest: text, tokens: Vec::new(), spaced: false, searched: 0 };
    while let Some(first) = scanner.rest.chars().next() {
        scanner.step(first);
        if scanner.tokens.len() > MOST_TOKENS || scanner.searched > MOST_SEARCHED {
            return None;
        }
    }
    Some(scanner.tokens)
}

struct Scanner<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    spaced: bool,
    /// How many bytes were searched for the ends of groups.
    searched: usize,
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
            // Python's power.
            '*' if self.rest.starts_with("**") => {
                self.advance(2);
                self.push(Kind::Mark('^'));
            }
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
        if name == "operatorname" {
            return self.operator_name();
        }
        if TEXT_COMMANDS.contains(&name) {
            return self.words();
        }
        if let Some((_, groups)) = UNSEEN.iter().find(|(unseen, _)| *unseen == name) {
            return self.skip_groups(*groups);
        }
        if name == "colon" {
            return self.push(Kind::Mark(':'));
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

    /// Skips what is not seen in the formula: an option in square brackets, and so many groups.
    fn skip_groups(&mut self, groups: usize) {
        self.skip_star();
        if self.rest.starts_with('[')
            && let Some(end) = self.rest.find(']')
        {
            self.advance(end + 1);
        }
        for _ in 0..groups {
            if self.group().is_none() {
                return;
            }
        }
        self.spaced = true;
    }

    /// Takes the group that comes next, and returns what is in it.
    fn group(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let content = group(self.rest);
        // A group that nothing closes is looked for to the end, and there may be thousands of them.
        let length = content.map_or(self.rest.len(), str::len);
        self.searched += if self.rest.starts_with('{') { length } else { 0 };
        if content.is_some() {
            self.advance(length + 2);
        }
        content
    }

    /// `\operatorname*` and `\hspace*` differ from the others in their spacing alone.
    fn skip_star(&mut self) {
        self.rest = self.rest.strip_prefix('*').unwrap_or(self.rest).trim_start();
    }

    /// The group after a text command: a formula if it reads as one, otherwise words.
    fn words(&mut self) {
        // `\mathbf{\frac12}` sets a formula in bold: its braces are a group like others. So does `\textbf{(1, 2)}` at the
        // beginning; behind a number a bracket says more about it.
        let is_formula =
            |content: &str| has_command(content) || (self.tokens.is_empty() && begins_with_value(content));
        if group(self.rest.trim_start()).is_some_and(is_formula) {
            return;
        }
        let Some(content) = self.group() else {
            return;
        };
        self.set_as_text(without_spacing(content).trim().trim_matches('"'));
        self.spaced = true;
    }

    /// A function by its name, however few letters it has, or words.
    fn operator_name(&mut self) {
        self.skip_star();
        match group(self.rest).map(str::trim).filter(|name| function_named(name).is_some()) {
            Some(name) => {
                self.group();
                self.push(Kind::Command(name.to_owned()));
            }
            None => self.words(),
        }
    }

    /// Whether words are a function's name. Behind a number `min` and `sec` are units.
    fn is_function(&self, text: &str) -> bool {
        let last = self.tokens.last().map(|token| &token.kind);
        let after_value = matches!(last, Some(Kind::Number(_) | Kind::Mark('}' | ')' | '%')));
        is_plain_command(text) && !(after_value && unit::is_known(text))
    }

    fn set_as_text(&mut self, text: &str) {
        match text {
            "" => {}
            // In upright letters these are the constants, which a text of one letter would hide.
            "i" | "e" => self.push(Kind::Word(text.to_owned())),
            _ if self.is_function(text) => self.push(Kind::Command(text.to_owned())),
            // A currency's sign stands before or behind a number however it is set.
            _ if text.chars().all(is_currency) => self.tokens.extend(text.chars().map(currency)),
            // `\text{5 cm}` is set as text and means a quantity.
            _ if is_formula(text) => self.tokens.extend(tokens(text).unwrap_or_default()),
            _ => {
                let words: Vec<&str> = text.split_whitespace().collect();
                // The micro sign and the Greek letter are one prefix.
                self.push(Kind::Text(words.join(" ").replace('µ', "μ")));
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

/// Signs of currencies but the dollar's, which TeX writes as a command.
const CURRENCIES: &str = "€£¥₹₽₩₺₫฿₪₦₱₴";

/// Whether a character is a currency's sign.
pub(crate) fn is_currency(character: char) -> bool {
    CURRENCIES.contains(character)
}

fn currency(sign: char) -> Token {
    Token { kind: Kind::Mark(sign), spaced: true }
}

/// How many digits a text begins with.
pub(crate) fn digits(text: &str) -> usize {
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
        '∶' => Kind::Mark(':'),
        // Web pages set absolute values with the sign of divisors.
        '∣' => Kind::Mark('|'),
        '−' | '–' | '—' => Kind::Mark('-'),
        '′' | '’' => Kind::Mark('\''),
        '、' => Kind::Mark(','),
        _ => command_of(character).map_or(Kind::Mark(character), |name| Kind::Command(name.to_owned())),
    }
}

fn command_of(character: char) -> Option<&'static str> {
    COMMAND_CHARACTERS.iter().find(|(characters, _)| characters.contains(character)).map(|(_, name)| *name)
}
