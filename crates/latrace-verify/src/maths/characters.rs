//! Characters outside ASCII in the ASCII notation that says the same: `x²` as `x^{2}`, `½` as `\frac{1}{2}`,
//! `１２` as `12`, `𝑥` as `x`. What stands for a command of its own, such as `≤`, is left to the tokens.

use std::borrow::Cow;

/// Superscripts and what they raise.
const SUPERSCRIPTS: [(char, char); 16] = [
    ('⁰', '0'),
    ('¹', '1'),
    ('²', '2'),
    ('³', '3'),
    ('⁴', '4'),
    ('⁵', '5'),
    ('⁶', '6'),
    ('⁷', '7'),
    ('⁸', '8'),
    ('⁹', '9'),
    ('⁺', '+'),
    ('⁻', '-'),
    ('⁽', '('),
    ('⁾', ')'),
    ('ⁿ', 'n'),
    ('ˣ', 'x'),
];

/// Subscripts and what they lower.
const SUBSCRIPTS: [(char, char); 19] = [
    ('₀', '0'),
    ('₁', '1'),
    ('₂', '2'),
    ('₃', '3'),
    ('₄', '4'),
    ('₅', '5'),
    ('₆', '6'),
    ('₇', '7'),
    ('₈', '8'),
    ('₉', '9'),
    ('₊', '+'),
    ('₋', '-'),
    ('₍', '('),
    ('₎', ')'),
    ('ₐ', 'a'),
    ('ₖ', 'k'),
    ('ₘ', 'm'),
    ('ₙ', 'n'),
    ('ₓ', 'x'),
];

/// Fractions of one character.
const FRACTIONS: [(char, u8, u8); 18] = [
    ('½', 1, 2),
    ('⅓', 1, 3),
    ('⅔', 2, 3),
    ('¼', 1, 4),
    ('¾', 3, 4),
    ('⅕', 1, 5),
    ('⅖', 2, 5),
    ('⅗', 3, 5),
    ('⅘', 4, 5),
    ('⅙', 1, 6),
    ('⅚', 5, 6),
    ('⅐', 1, 7),
    ('⅛', 1, 8),
    ('⅜', 3, 8),
    ('⅝', 5, 8),
    ('⅞', 7, 8),
    ('⅑', 1, 9),
    ('⅒', 1, 10),
];

/// The line of a fraction whose terms stand above and below it.
const FRACTION_SLASH: char = '⁄';

/// `text` with characters that ASCII can write in ASCII.
pub(super) fn in_ascii(text: &str) -> Cow<'_, str> {
    // Nearly all answers are ASCII, and stay as they are.
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(rewritten(text)) }
}

fn rewritten(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match run(rest, &SUPERSCRIPTS) {
            Some((above, length)) => raised(&mut written, &above, length, &rest[length..]),
            None => match run(rest, &SUBSCRIPTS) {
                Some((below, length)) => {
                    written.push_str(&format!("_{{{below}}}"));
                    length
                }
                None => {
                    single(&mut written, first);
                    first.len_utf8()
                }
            },
        };
        rest = &rest[length..];
    }
    written
}

/// The characters that `text` begins with which `table` holds, in ASCII, and their length.
fn run(text: &str, table: &[(char, char)]) -> Option<(String, usize)> {
    let plain = |c: char| table.iter().find(|(mark, _)| *mark == c).map(|(_, plain)| *plain);
    let run: String = text.chars().map_while(plain).collect();
    let length = text.chars().take(run.chars().count()).map(char::len_utf8).sum();
    (!run.is_empty()).then_some((run, length))
}

/// Writes a superscript, or the fraction `¹⁄₂` that it begins, and returns how long it is.
fn raised(written: &mut String, above: &str, length: usize, rest: &str) -> usize {
    let below = rest.strip_prefix(FRACTION_SLASH).and_then(|rest| run(rest, &SUBSCRIPTS));
    let Some((below, more)) = below else {
        written.push_str(&format!("^{{{above}}}"));
        return length;
    };
    written.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
    length + FRACTION_SLASH.len_utf8() + more
}

fn single(written: &mut String, character: char) {
    if let Some((_, above, below)) = FRACTIONS.iter().find(|(mark, ..)| *mark == character) {
        return written.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
    }
    match character {
        '∛' => written.push_str("\\sqrt[3]"),
        '∜' => written.push_str("\\sqrt[4]"),
        FRACTION_SLASH | '∕' => written.push('/'),
        '‐' | '‑' | '‒' => written.push('-'),
        '。' => written.push('.'),
        '￥' => written.push('¥'),
        _ => written.push(letter(character)),
    }
}

/// A letter or sign in full width or in the typeface of formulas as the plain one.
fn letter(character: char) -> char {
    const LETTERS: u32 = 52;
    const GREEK: u32 = 58;
    let code = u32::from(character);
    let plain = match code {
        // Full width.
        0xff01..=0xff5e => code - 0xfee0,
        // Planck's constant is the gap in the italic letters.
        0x210e => u32::from('h'),
        0x1d400..=0x1d6a3 => match (code - 0x1d400) % LETTERS {
            capital @ 0..=25 => u32::from('A') + capital,
            small => u32::from('a') + small - 26,
        },
        0x1d6a8..=0x1d7cb => match (code - 0x1d6a8) % GREEK {
            capital @ 0..=24 => u32::from('Α') + capital,
            small @ 26..=50 => u32::from('α') + small - 26,
            _ => code,
        },
        0x1d7ce..=0x1d7ff => u32::from('0') + (code - 0x1d7ce) % 10,
        _ => code,
    };
    char::from_u32(plain).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_written_in_ascii() {
        let check = |text: &str, expected: &str| assert_eq!(in_ascii(text), expected, "{text}");
        check("x² + y⁻¹⁰", "x^{2} + y^{-10}");
        check("x₁₂", "x_{12}");
        check("2½", "2\\frac{1}{2}");
        check("¹⁄₂", "\\frac{1}{2}");
        check("1⁄2", "1/2");
        check("１２．５％", "12.5%");
        check("（ａ，ｂ）", "(a,b)");
        check("𝑥 + 𝐀 + 𝟏𝟗 + ℎ", "x + A + 19 + h");
        check("𝜋", "π");
        check("∛8", "\\sqrt[3]8");
        check("≤ é", "≤ é");
    }
}
