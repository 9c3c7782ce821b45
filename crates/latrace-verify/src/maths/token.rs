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
    /// The content of `\text{…}` and its kin.
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

/// The most tokens an answer may have.
const MOST_TOKENS: usize = 20_000;

/// Commands whose braces hold words, not formulas.
const TEXT_COMMANDS: [&str; 12] = [
    "text",
    "textbf",
    "textit",
    "textrm",
    "textnormal",
    "textsf",
    "texttt",
    "mbox",
    "mathrm",
    "operatorname",
    "mathbf",
    "rm",
];

/// Commands that only set type or space.
const IGNORED: [&str; 33] = [
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "Biggl",
    "Biggr",
    "displaystyle",
    "textstyle",
    "limits",
    "nolimits",
    "quad",
    "qquad",
    "hspace",
    "hfill",
    "bf",
    "it",
    "boldsymbol",
    "bm",
    "mathit",
    "mathsf",
    "mathcal",
    "mathnormal",
    "middle",
    "boxed",
    "fbox",
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
            _ if first.is_whitespace() || matches!(first, '~' | '$' | '\u{200b}' | '\u{feff}') => {
                self.advance(first.len_utf8());
                // A dollar sign ends a formula: what follows is apart, as after a blank.
                self.spaced = true;
            }
            '\\' => self.command(),
            '0'..='9' | '.' if self.number_length() > 0 => {
                let length = self.number_length();
                let digits = self.advance(length).to_owned();
                self.push(Kind::Number(digits));
            }
            _ if first.is_ascii_alphabetic() => {
                let length = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
                let word = self.advance(length).to_owned();
                self.push(Kind::Word(word));
            }
            _ => {
                self.advance(first.len_utf8());
                self.push(plain(first));
            }
        }
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
        let bytes = self.rest.as_bytes();
        let whole = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fraction = match bytes.get(whole) {
            Some(b'.') => bytes[whole + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
            _ => 0,
        };
        // `0.\overline{3}` has no digit after its point, and is a number all the same.
        let repeats = self.rest[whole..].starts_with(".\\overline")
            || self.rest[whole..].starts_with(".\\dot")
            || self.rest[whole..].starts_with(".\\bar");
        if fraction > 0 || (repeats && whole > 0) { whole + 1 + fraction } else { whole }
    }

    fn command(&mut self) {
        let after = &self.rest[1..];
        let length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        if length == 0 {
            return self.control_symbol();
        }
        let name = &self.advance(1 + length)[1..];
        if TEXT_COMMANDS.contains(&name) {
            return self.words();
        }
        if IGNORED.contains(&name) {
            // `\left.` and `\right.` draw nothing.
            if matches!(name, "left" | "right") && self.rest.starts_with('.') {
                self.advance(1);
            }
            return;
        }
        self.push(Kind::Command(name.to_owned()));
    }

    /// A backslash before a character that is no letter.
    fn control_symbol(&mut self) {
        let Some(symbol) = self.rest[1..].chars().next() else {
            self.advance(1);
            return self.push(Kind::Mark('\\'));
        };
        self.advance(1 + symbol.len_utf8());
        match symbol {
            ',' | '!' | ';' | ':' | ' ' | '>' | '/' => self.spaced = true,
            '(' | ')' | '[' | ']' => self.spaced = true,
            '\\' => self.push(Kind::Command("\\".to_owned())),
            '{' | '}' => self.push(Kind::Command(symbol.to_string())),
            '$' => self.push(Kind::Command("$".to_owned())),
            '|' => self.push(Kind::Command("|".to_owned())),
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
        let plain = content
            .replace(['~', '$', '\u{a0}'], " ")
            .replace("\\ ", " ")
            .replace("\\,", " ")
            .replace('\\', "");
        let trimmed = plain.trim().trim_matches('"');
        match trimmed {
            "" => self.spaced = true,
            // In upright letters these are the constants, which a text of one letter would hide.
            "i" | "e" => self.push(Kind::Word(trimmed.to_owned())),
            // `\text{5 cm}` is set as text and means a quantity.
            _ if is_formula(trimmed) => {
                let inner = tokens(trimmed).unwrap_or_default();
                self.tokens.extend(inner);
            }
            _ => {
                let words = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
                self.push(Kind::Text(words));
            }
        }
        self.spaced = true;
    }
}

/// Whether words in a text command are a number, perhaps with its unit, a sign, a function or an option's
/// letter.
fn is_formula(text: &str) -> bool {
    let core = text.trim_matches(|c: char| matches!(c, '(' | ')' | '-' | '+' | '%' | ',' | '.'));
    let number = !core.is_empty() && core.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '/'));
    let operator = matches!(text, "=" | "<" | ">" | "," | ";" | "+" | "-" | "(" | ")");
    let function = matches!(
        text,
        "sin"
            | "cos"
            | "tan"
            | "ln"
            | "log"
            | "arcsin"
            | "arccos"
            | "arctan"
            | "lcm"
            | "gcd"
            | "sec"
            | "csc"
            | "cot"
    );
    let option = text.len() == 3
        && text.starts_with('(')
        && text.ends_with(')')
        && core.bytes().all(|byte| byte.is_ascii_uppercase());
    number || operator || function || option || text.starts_with(|c: char| c.is_ascii_digit())
}

/// A character outside ASCII by what it stands for.
fn plain(character: char) -> Kind {
    let command = |name: &str| Kind::Command(name.to_owned());
    match character {
        '×' | '·' | '⋅' | '∙' => command("cdot"),
        '÷' => Kind::Mark('/'),
        '−' | '–' | '—' => Kind::Mark('-'),
        '≤' | '⩽' => command("le"),
        '≥' | '⩾' => command("ge"),
        '≠' => command("neq"),
        '≈' => command("approx"),
        '≡' => command("equiv"),
        '±' => command("pm"),
        '∓' => command("mp"),
        '∞' => command("infty"),
        '∪' => command("cup"),
        '∈' => command("in"),
        '∅' => command("emptyset"),
        'ℝ' => command("R"),
        'π' => command("pi"),
        'θ' => command("theta"),
        'α' => command("alpha"),
        'β' => command("beta"),
        'λ' => command("lambda"),
        'ω' => command("omega"),
        'φ' => command("phi"),
        '√' => command("sqrt"),
        '°' | 'º' => command("degree"),
        '⟨' => command("langle"),
        '⟩' => command("rangle"),
        '′' | '’' => Kind::Mark('\''),
        '，' | '、' => Kind::Mark(','),
        '（' => Kind::Mark('('),
        '）' => Kind::Mark(')'),
        '０'..='９' => {
            Kind::Number(char::from(b'0' + (u32::from(character) - u32::from('０')) as u8).to_string())
        }
        _ => Kind::Mark(character),
    }
}
