//! The form of a question's text in which two texts are compared: its words, folded, without what only sets them.
//!
//! * Letters are case-folded: uppercased, then lowercased, so that `ß` is `ss` and both lower sigmas are one.
//! * A word is a run of letters and digits; an ideograph or kana is a word by itself. An apostrophe within a word and
//!   a comma before three digits are dropped (`don't`, `10,000`); a decimal point stays (`2.5`).
//! * Signs of arithmetic and comparison are words: `3 + 4` and `3 - 4` are two questions. A hyphen or slash between
//!   letters is punctuation, unless both stand alone (`x-y`). Brackets around such a sign are words, whatever their
//!   shape: `5 * (4 + 9)` is not `5 * 4 + 9`.
//! * All else only separates words: whitespace, punctuation, braces, and the delimiters of LaTeX (`$`, `\(`, `\[`,
//!   `\left`, `\right`). The name of any other command is a word (`\frac`).

use std::collections::HashSet;

/// The words of a text, each followed by a space.
pub(super) fn normalised(text: &str) -> String {
    let chars: Vec<char> = text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    let mut words =
        Words { text: String::with_capacity(chars.len() + 1), letters: 0, brackets: brackets(&chars) };
    let mut at = 0;
    while at < chars.len() {
        at += words.take(&chars, at);
    }
    words.end();
    words.text
}

/// The text without the spaces that separate no two numbers: how a text is spaced makes no other question of it.
pub(super) fn unspaced(normalised: &str) -> String {
    let mut text = String::with_capacity(normalised.len());
    for word in normalised.split_ascii_whitespace() {
        let between_digits = text.ends_with(is_digit) && word.starts_with(is_digit);
        text.extend(between_digits.then_some(' '));
        text.push_str(word);
    }
    text
}

/// The words so far; the last of them may not have ended.
struct Words {
    text: String,
    /// Characters of the unfinished word.
    letters: usize,
    /// Places of the brackets that are words.
    brackets: HashSet<usize>,
}

/// The places of brackets that directly enclose a sign of arithmetic.
fn brackets(chars: &[char]) -> HashSet<usize> {
    let (mut open, mut kept): (Vec<(usize, bool)>, _) = (Vec::new(), HashSet::new());
    for (at, letter) in chars.iter().enumerate() {
        match letter {
            // After a backslash they delimit a formula, and group nothing in it.
            _ if at > 0 && chars[at - 1] == '\\' => {}
            '(' | '[' | '{' => open.push((at, false)),
            ')' | ']' | '}' => {
                let closed = open.pop().filter(|(_, has)| *has);
                kept.extend(closed.into_iter().flat_map(|(start, _)| [start, at]));
            }
            '+' | '-' | '*' | '/' | '×' | '÷' => {
                open.last_mut().into_iter().for_each(|(_, has)| *has = true)
            }
            _ => {}
        }
    }
    kept
}

impl Words {
    /// Takes the character at `at`, and those that belong to it; returns how many.
    fn take(&mut self, chars: &[char], at: usize) -> usize {
        let (before, now, after) = (at.checked_sub(1).map(|at| chars[at]), chars[at], chars.get(at + 1));
        let is_between =
            |kind: fn(char) -> bool| before.is_some_and(kind) && after.copied().is_some_and(kind);
        match now {
            _ if is_ideograph(now) => self.put_alone(now),
            _ if now.is_alphanumeric() => self.put(now),
            '(' | '[' | '{' if self.brackets.contains(&at) => self.put_alone('('),
            ')' | ']' | '}' if self.brackets.contains(&at) => self.put_alone(')'),
            '\\' => return self.take_command(&chars[at..]),
            '.' if is_between(is_digit) => self.put(now),
            ',' if is_between(is_digit) && starts_thousands(&chars[at + 1..]) => {}
            '\'' | '’' if is_between(char::is_alphabetic) => {}
            // Accents written after their letter.
            '\u{300}'..='\u{36f}' => {}
            '-' | '/' if is_between(char::is_alphabetic) && !self.stands_alone(&chars[at + 1..]) => {
                self.end()
            }
            _ if is_sign(now) && before != Some(now) && after != Some(&now) => self.put_alone(now),
            _ => self.end(),
        }
        1
    }

    fn put(&mut self, letter: char) {
        self.text.push(letter);
        self.letters += 1;
    }

    fn put_alone(&mut self, word: char) {
        self.end();
        self.put(word);
        self.end();
    }

    fn end(&mut self) {
        if self.letters > 0 {
            self.text.push(' ');
        }
        self.letters = 0;
    }

    /// Whether the unfinished word and the one to come are single letters.
    fn stands_alone(&self, next: &[char]) -> bool {
        self.letters == 1 && !next.get(1).is_some_and(|letter| letter.is_alphanumeric())
    }

    /// A backslash, with the delimiter that it begins.
    fn take_command(&mut self, chars: &[char]) -> usize {
        self.end();
        let name = chars[1..].iter().take_while(|letter| letter.is_ascii_alphabetic());
        let name: String = name.take("right".len() + 1).collect();
        if ["left", "right"].contains(&name.as_str()) { 1 + name.len() } else { 1 }
    }
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// Three digits, and no fourth.
fn starts_thousands(chars: &[char]) -> bool {
    chars.iter().take_while(|letter| is_digit(**letter)).take(4).count() == 3
}

fn is_sign(letter: char) -> bool {
    // The mathematical operators, arrows and comparisons of Unicode, and those of its first two blocks.
    "+-*/=<>^%±×÷¬".contains(letter) || matches!(letter, '\u{2190}'..='\u{22ff}' | '\u{2a00}'..='\u{2aff}')
}

/// Scripts that put no spaces between words.
fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(normalised(text).trim_end(), expected);
    }

    #[test]
    fn words_are_folded_and_bare() {
        check("What  is\n\"THIS\"?", "what is this");
        check("STRASSE Straße ΣΊΣΥΦΟΣ σίσυφος", "strasse strasse σίσυφοσ σίσυφοσ");
        check("don't, twenty-one and/or x-axis.", "dont twenty one and or x axis");
        check("", "");
        check("?!…", "");
        check("二と三", "二 と 三");
        check("cafe\u{301}", "cafe");
    }

    #[test]
    fn numbers_stay_what_they_are() {
        check("$10,000.50 is 2.5%", "10000.50 is 2.5 %");
        check("1,2,3 and 12,34 and 1,2345.", "1 2 3 and 12 34 and 1 2345");
        check("in 1999. Then", "in 1999 then");
    }

    #[test]
    fn signs_are_words_and_dashes_are_not() {
        check("3+4 = 7, x-y a/b", "3 + 4 = 7 x - y a / b");
        check("one -- two **three** ≤ 4", "one two three ≤ 4");
    }

    #[test]
    fn brackets_that_group_are_words() {
        check("5*(4+9)", "5 * ( 4 + 9 )");
        check("5 * 4 + 9 (in all)", "5 * 4 + 9 in all");
        check("x^{a+[b]} )", "x ^ ( a + b )");
    }

    #[test]
    fn latex_is_not_told_from_its_delimiters() {
        let plain = normalised("x^2 + (1)");
        for text in ["$x^2 + (1)$", "\\(x^{2}+(1)\\)", "\\[ x^2 + \\left( 1 \\right) \\]", "$$x^2+(1)$$"] {
            assert_eq!(normalised(text), plain, "{text}");
        }
        check("\\frac{1}{2} \\rightarrow \\lefty", "frac 1 2 rightarrow lefty");
    }

    #[test]
    fn spaces_make_no_other_question() {
        let check = |left: &str, right: &str, same: bool| {
            assert_eq!(unspaced(&normalised(left)) == unspaced(&normalised(right)), same, "{left} {right}");
        };
        check("What is 2x?", "what is 2 x", true);
        check("can not", "cannot", true);
        check("1 23", "12 3", false);
        check("3 + 4", "3 - 4", false);
    }
}
