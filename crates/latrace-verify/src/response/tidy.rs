//! An answer as it is reported: arguments of `\frac` and `\sqrt` in braces.

use crate::braces::{group, is_balanced};

/// Commands whose arguments may stand without braces, and how many they have.
const COMMANDS: [(&str, usize); 5] =
    [("\\frac", 2), ("\\dfrac", 2), ("\\tfrac", 2), ("\\cfrac", 2), ("\\sqrt", 1)];

/// `\frac12` becomes `\frac{1}{2}`; all else stays.
pub(super) fn tidy(answer: &str) -> String {
    // A group that nothing closes would be looked for to the end, once for each of thousands.
    if !is_balanced(answer) {
        return answer.to_owned();
    }
    let mut tidied = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some(at) = rest.find('\\') {
        tidied.push_str(&rest[..at]);
        rest = after_command(&rest[at..], &mut tidied);
    }
    tidied + rest
}

/// Writes the command that `text` begins with, with braces around its arguments, and returns the rest.
fn after_command<'a>(text: &'a str, tidied: &mut String) -> &'a str {
    let command = COMMANDS.iter().find(|(name, _)| is_command(text, name));
    // A backslash and what it escapes stay together.
    let escaped = || 1 + text[1..].chars().next().map_or(0, char::len_utf8);
    let (written, rest) = text.split_at(command.map_or_else(escaped, |(name, _)| name.len()));
    tidied.push_str(written);
    with_braces(rest, command.map_or(0, |(_, arguments)| *arguments), tidied)
}

fn is_command(text: &str, name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic();
    text.strip_prefix(name).is_some_and(|after| !after.starts_with(is_letter))
}

/// Takes arguments of one character, puts them in braces, and stops at any other.
fn with_braces<'a>(mut rest: &'a str, arguments: usize, tidied: &mut String) -> &'a str {
    for argument in 0..arguments {
        let is_last = argument + 1 == arguments;
        let bare = rest.trim_start();
        if bare.starts_with('{') {
            // A group in the last place needs no more braces.
            let Some(group) = (if is_last { None } else { group(bare) }) else {
                return rest;
            };
            let length = rest.len() - bare.len() + group.len() + 2;
            tidied.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            let Some(first) = bare_argument(bare, arguments) else {
                return rest;
            };
            tidied.extend(['{', first, '}']);
            rest = &bare[1..];
        }
    }
    rest
}

/// The letter or digit that is an argument by itself.
fn bare_argument(text: &str, arguments: usize) -> Option<char> {
    let first = text.chars().next().filter(char::is_ascii_alphanumeric)?;
    // The root of several digits is meant to be of all.
    let continues = text[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (arguments != 1 || !continues).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: &str) {
        assert_eq!(tidy(answer), expected);
        assert_eq!(tidy(expected), expected);
    }

    #[test]
    fn arguments_get_braces() {
        check("\\frac12", "\\frac{1}{2}");
        check("\\frac 1 2", "\\frac{1}{2}");
        check("-\\frac1{23}x", "-\\frac{1}{23}x");
        check("\\dfrac{1}2", "\\dfrac{1}{2}");
        check("\\frac\\pi2", "\\frac\\pi2");
        check("\\sqrt3+\\sqrt x", "\\sqrt{3}+\\sqrt{x}");
    }

    #[test]
    fn all_else_stays() {
        for answer in [
            "\\sqrt12",
            "\\sqrt[3]{2}",
            "\\frac{1}{2}",
            "\\frac",
            "\\fracas",
            "\\\\frac",
            "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
            "５\\",
            "{\\frac{1}",
        ] {
            check(answer, answer);
        }
    }
}
