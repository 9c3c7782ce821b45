//! As much of Python's lexical grammar as tells whether a place is within a string or a comment.

/// What a place of a program is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Code,
    Comment,
    /// A string on one line, in these quotes.
    Line(u8),
    /// A string between three of these quotes.
    Triple(u8),
}

impl Place {
    /// The place behind `text`, which begins here.
    pub(super) fn after(self, text: &str) -> Place {
        let (mut place, mut rest) = (self, text.as_bytes());
        while !rest.is_empty() {
            let (next, length) = place.step(rest);
            (place, rest) = (next, rest.get(length..).unwrap_or_default());
        }
        place
    }

    /// Whether the lines that follow are within a string.
    pub(super) fn is_in_lines_of_text(self) -> bool {
        matches!(self, Place::Triple(_))
    }

    /// The place behind the next token of `rest`, which is not empty, and the length of that token.
    fn step(self, rest: &[u8]) -> (Place, usize) {
        match (self, rest) {
            (Place::Code, [b'#', ..]) => (Place::Comment, 1),
            (Place::Code, [quote @ (b'"' | b'\''), ..]) if rest.starts_with(&[*quote; 3]) => {
                (Place::Triple(*quote), 3)
            }
            (Place::Code, [quote @ (b'"' | b'\''), ..]) => (Place::Line(*quote), 1),
            // Raw strings too: a backslash keeps the quote behind it from ending the string.
            (Place::Line(_) | Place::Triple(_), [b'\\', ..]) => (self, 2),
            // A string that was left open ends with its line, or one apostrophe would hide all that follows.
            (Place::Comment | Place::Line(_), [b'\n', ..]) => (Place::Code, 1),
            (Place::Line(quote), [byte, ..]) if *byte == quote => (Place::Code, 1),
            (Place::Triple(quote), _) if rest.starts_with(&[quote; 3]) => (Place::Code, 3),
            _ => (self, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Place) {
        assert_eq!(Place::default().after(text), expected, "{text:?}");
    }

    #[test]
    fn strings_and_comments_are_told_from_code() {
        check("x = 1\n", Place::Code);
        check("x = ''", Place::Code);
        check("x = 'a", Place::Line(b'\''));
        check("x = 'a\n", Place::Code);
        check("x = 'a\\\n", Place::Line(b'\''));
        check("x = 'a\\'", Place::Line(b'\''));
        check("x = r'a\\\\'", Place::Code);
        check("x = \"it's\"", Place::Code);
        check("# it's \"\"\"", Place::Comment);
        check("# it's\n", Place::Code);
        check("\"# no comment\"", Place::Code);
        check("s = \"\"\"", Place::Triple(b'"'));
        check("s = \"\"\"a\n# ' \\\"\"\"", Place::Triple(b'"'));
        check("s = '''\"\"\"", Place::Triple(b'\''));
        check("s = '''a\nb'''\n", Place::Code);
        check("s = '\\", Place::Line(b'\''));
        check("", Place::Code);
    }
}
