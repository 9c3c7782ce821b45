//! The program in a response: its last fenced block.
//!
//! * A block that is tagged as Python counts before one without a tag, and that before one of another language;
//!   of several the last one with content. A block of Markdown is no block: those in it count.
//! * Fences are three or more backticks or tildes, within lists and quotations too, whose margin is taken off.
//! * Within a triple-quoted string nothing is a fence, if that string ends and the block does.
//! * Outside strings no line of Python begins with a fence, so any line that does ends the block: with words
//!   behind it, with a language (which opens the next block only if a bare fence follows), at the end of a line
//!   of code, or of another kind where none of its own follows. A block without an end was cut off.

use super::literal::Place;
use crate::response::visible;

/// Whether a program without a fence is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// Only a fenced block is a program.
    Required,
    /// Without a block the whole text is the program.
    Optional,
}

/// The program of a response; `None` where there is none with content.
pub fn program(response: &str, fencing: Fencing) -> Option<String> {
    // The whole text, its thought included: a bare program has none.
    if fencing == Fencing::Optional && is_bare(response) {
        return (!response.trim().is_empty()).then(|| response.to_owned());
    }
    let blocks = blocks(visible(response)?);
    let filled = blocks.into_iter().filter(|block| !block.content.trim().is_empty());
    // Of equals the last.
    filled.max_by_key(|block| block.language).map(|block| block.content)
}

/// Whether no line is a fence; one within a string of the program is none.
fn is_bare(text: &str) -> bool {
    let mut place = Place::default();
    text.split_inclusive('\n').all(|line| {
        let is_text = place.is_in_lines_of_text();
        place = place.after(line);
        is_text || Opening::of(line).is_none()
    })
}

/// What a block's tag says, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    Other,
    Untagged,
    Python,
}

/// Tags of Python; a number of its version may follow.
const PYTHON: [&str; 5] = ["python", "py", "pypy", "cpython", "ipython"];
/// Tags of text that holds blocks of its own.
const MARKDOWN: [&str; 2] = ["markdown", "md"];

/// The name that a block is tagged with, in lower case and without the number of a version.
fn tag(info: &str) -> String {
    // Pandoc writes `{.python}`, and others add a file name or options behind the name.
    let name = info.trim_start_matches(['{', '.', ' ']);
    let end = name.find(|character: char| !(character.is_alphanumeric() || ".+#-_".contains(character)));
    let name = name[..end.unwrap_or(name.len())].to_lowercase();
    name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.').to_owned()
}

fn language(info: &str) -> Language {
    match info.trim() {
        "" => Language::Untagged,
        info if PYTHON.contains(&tag(info).as_str()) => Language::Python,
        _ => Language::Other,
    }
}

struct Block {
    language: Language,
    content: String,
}

/// Backticks or tildes: which, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    mark: u8,
    count: usize,
}

impl Marks {
    /// The marks that a text begins with, and what follows them.
    fn split(text: &str) -> Option<(Marks, &str)> {
        let mark = *text.as_bytes().first().filter(|byte| matches!(byte, b'`' | b'~'))?;
        let count = text.bytes().take_while(|byte| *byte == mark).count();
        (count >= 3).then(|| (Marks { mark, count }, &text[count..]))
    }

    fn close(self, open: Marks) -> bool {
        self.mark == open.mark && self.count >= open.count
    }
}

/// A line that opens a block.
enum Opening<'a> {
    Fence(Fence<'a>),
    /// A whole program between fences on one line.
    Line(&'a str),
}

struct Fence<'a> {
    marks: Marks,
    info: &'a str,
    margin: Margin,
}

/// What stands to the left of a block.
#[derive(Clone, Copy)]
struct Margin {
    is_quoted: bool,
    width: usize,
}

impl<'a> Opening<'a> {
    fn of(line: &'a str) -> Option<Opening<'a>> {
        let (margin, text) = Margin::split(line);
        let Some((marks, rest)) = Marks::split(text) else { return Opening::behind_words(line) };
        match (marks.mark, rest.trim()) {
            // The tag of a block of backticks has none: this is code within a line.
            (b'`', inner) if inner.contains('`') => Opening::within(inner),
            (_, info) => Some(Opening::Fence(Fence { marks, info, margin })),
        }
    }

    /// A tagged program between fences on one line; without a tag, code within a sentence looks the same.
    fn within(inner: &'a str) -> Option<Opening<'a>> {
        let (info, program) =
            inner.strip_suffix("```")?.trim_end_matches('`').split_once(char::is_whitespace)?;
        (language(info) == Language::Python && !program.contains("```")).then_some(Opening::Line(program))
    }

    /// A fence at the end of a sentence: `the program: ```python`.
    fn behind_words(line: &'a str) -> Option<Opening<'a>> {
        let at = line.find("```")?;
        let (marks, info) = Marks::split(&line[at..])?;
        let opens = language(info) == Language::Python && !info.trim().contains(['`', ' ']);
        let margin = Margin { is_quoted: false, width: 0 };
        opens.then_some(Opening::Fence(Fence { marks, info, margin }))
    }
}

impl Margin {
    /// The margin of a line, and what follows it: blanks, marks of quotations, the marks of a list.
    fn split(line: &str) -> (Margin, &str) {
        let unquoted = unquoted(line);
        let text = unquoted.unwrap_or(line);
        let item = text.trim_start();
        let inner = after_bullet(item).unwrap_or(item);
        (Margin { is_quoted: unquoted.is_some(), width: text.chars().count() - inner.chars().count() }, inner)
    }

    /// A line without the marks of the quotation that it stands in.
    fn unquote(self, line: &str) -> &str {
        if self.is_quoted { unquoted(line).unwrap_or(line) } else { line }
    }
}

fn unquoted(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix('>')?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// What follows `- `, `* `, `+ `, `1. ` or `1) `.
fn after_bullet(text: &str) -> Option<&str> {
    let number = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let marks: &[char] = if number.len() < text.len() { &['.', ')'] } else { &['-', '*', '+'] };
    let inner = number.strip_prefix(marks)?;
    inner.starts_with(' ').then(|| inner.trim_start())
}

/// Scans to the end of a response in vain, after which no further block is looked for: work is bounded.
const MOST_VAIN_SCANS: usize = 32;

fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (mut blocks, mut at, mut vain) = (Vec::new(), 0, 0);
    while at < lines.len() && vain < MOST_VAIN_SCANS {
        at += 1;
        match Opening::of(lines[at - 1]) {
            None => {}
            Some(Opening::Line(program)) => {
                blocks.push(Block { language: Language::Python, content: program.to_owned() });
            }
            Some(Opening::Fence(fence)) if MARKDOWN.contains(&tag(fence.info).as_str()) => {}
            Some(Opening::Fence(fence)) => {
                let body = Body { lines: &lines, first: at, fence: &fence };
                let end = body.end(&mut vain);
                blocks.push(Block { language: language(fence.info), content: body.content(&end) });
                at = end.next;
            }
        }
    }
    blocks
}

/// The lines behind an opening fence.
struct Body<'a> {
    lines: &'a [&'a str],
    first: usize,
    fence: &'a Fence<'a>,
}

/// Where a block ends.
struct End<'a> {
    /// The first line that is not wholly its content.
    line: usize,
    /// What of that line is content.
    tail: &'a str,
    /// The line at which the search for the next block begins.
    next: usize,
}

/// Which lines end a block.
#[derive(Clone, Copy)]
struct Rule {
    /// Fences of another kind do, or shorter ones.
    any_fence: bool,
    /// Those within strings do.
    in_strings: bool,
}

impl<'a> Body<'a> {
    fn end(&self, vain: &mut usize) -> End<'a> {
        let (found, place) = self.scan(Rule { any_fence: false, in_strings: false });
        found.unwrap_or_else(|| {
            *vain += 1;
            // A string that never ends is none: an apostrophe in words, or a mistake.
            let in_strings = place.is_in_lines_of_text();
            let scan = |any_fence| self.scan(Rule { any_fence, in_strings }).0;
            let own = in_strings.then(|| scan(false)).flatten();
            let last = self.lines.len();
            own.or_else(|| scan(true)).unwrap_or(End { line: last, tail: "", next: last })
        })
    }

    /// The first line that ends the block by a rule, and the place at which the scan ends.
    fn scan(&self, rule: Rule) -> (Option<End<'a>>, Place) {
        let mut place = Place::default();
        for (at, line) in self.lines.iter().enumerate().skip(self.first) {
            let line = self.fence.margin.unquote(line);
            if (rule.in_strings || !place.is_in_lines_of_text())
                && let Some(end) = self.end_at(at, line, place, rule)
            {
                return (Some(end), place);
            }
            place = place.after(line);
        }
        (None, place)
    }

    fn end_at(&self, at: usize, line: &'a str, place: Place, rule: Rule) -> Option<End<'a>> {
        let ends = |marks: Marks| rule.any_fence || marks.close(self.fence.marks);
        match Marks::split(line.trim()) {
            Some((marks, info)) if ends(marks) => {
                let next = if self.opens_another(at, info) { at } else { at + 1 };
                Some(End { line: at, tail: "", next })
            }
            Some(_) => None,
            None => self.code_before_fence(line, place).map(|tail| End { line: at, tail, next: at + 1 }),
        }
    }

    /// Whether the fence that ends this block opens the next: with a tag, and a bare fence after it.
    fn opens_another(&self, at: usize, info: &str) -> bool {
        let is_tag = !info.trim().is_empty() && !info.trim().contains(char::is_whitespace);
        let later = self.lines[at + 1..].iter().map(|line| self.fence.margin.unquote(line).trim());
        let is_closed = || later.filter_map(Marks::split).next().is_some_and(|(_, info)| info.is_empty());
        let is_whole = || matches!(Opening::of(self.lines[at]), Some(Opening::Line(_)));
        (is_tag && is_closed()) || is_whole()
    }

    /// The code on a line that a fence ends, if a fence does, and is not part of a string or comment.
    fn code_before_fence(&self, line: &'a str, place: Place) -> Option<&'a str> {
        let text = line.trim_end();
        let code = text.trim_end_matches('`');
        let marks = Marks { mark: b'`', count: text.len() - code.len() };
        (marks.close(self.fence.marks) && place.after(code) == Place::Code).then_some(code)
    }

    /// The content without its margin: at most that of the fence, and no more than the first line of code has.
    fn content(&self, end: &End<'_>) -> String {
        let margin = self.fence.margin;
        let lines = self.lines[self.first..end.line].iter().map(|line| margin.unquote(line));
        let lines: Vec<&str> = lines.chain([end.tail]).collect();
        let first = lines.iter().find(|line| !line.trim().is_empty());
        let width = margin
            .width
            .min(first.map_or(0, |line| line.chars().count() - line.trim_start().chars().count()));
        lines.into_iter().map(|line| without_blanks(line, width)).collect()
    }
}

/// A line without its first blanks, of which it may have fewer.
fn without_blanks(line: &str, most: usize) -> &str {
    let blanks = line.bytes().take(most).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Option<&str>) {
        assert_eq!(program(response, Fencing::Required).as_deref(), expected, "{response:?}");
    }

    #[track_caller]
    fn check_bare(response: &str, expected: Option<&str>) {
        assert_eq!(program(response, Fencing::Optional).as_deref(), expected, "{response:?}");
    }

    #[test]
    fn the_last_block_counts() {
        check("Some code:\n```\nprint(1)\n```", Some("print(1)\n"));
        check("```py\na\n```\ntext\n```python\nb\n```\n", Some("b\n"));
        check("```\na\n```\n```python\n \n", Some("a\n"));
        check("```python\ncut off\n", Some("cut off\n"));
        check("no opening\nprint(1)\n```", None);
        check("```python\n```", None);
        check("print(1)", None);
        check("<think>```\nx\n```</think>\n```\ny\n```", Some("y\n"));
    }

    #[test]
    fn a_tag_of_python_counts_before_none_and_none_before_another() {
        check("```python\na\n```\n```\nO(1)\n```\n", Some("a\n"));
        check("```python\na\n```\n```text\n6\n```\n```bash\npython a.py\n```\n", Some("a\n"));
        check("```\na\n```\n```text\n6\n```\n", Some("a\n"));
        check("```cpp\na\n```\n", Some("a\n"));
        for tag in [
            "Python",
            "python3",
            "python3.11",
            "py",
            "PY3",
            "{.python .numberLines}",
            "python title=\"a.py\"",
            " python",
        ] {
            check(&format!("```{tag}\na\n```\n```\nb\n```"), Some("a\n"));
        }
        for tag in ["pycon", "c++", "text", "pyret", "console"] {
            check(&format!("```{tag}\na\n```\n```\nb\n```\n```{tag}\na\n```"), Some("b\n"));
        }
        check("```markdown\n# Title\n```python\na\n```\n```\nThat is all.", Some("a\n"));
    }

    #[test]
    fn fences_are_tildes_and_longer_ones_too() {
        check("~~~python\na\n~~~", Some("a\n"));
        check("````python\na\n````", Some("a\n"));
        check("````\n```\na\n```\n````", Some("```\na\n```\n"));
        check("~~~python\na\n```\n", Some("a\n"));
        check("```python\na\n`````\nwords", Some("a\n"));
        check("````python\na\n```\nwords", Some("a\n"));
    }

    #[test]
    fn a_margin_is_taken_off() {
        check("1. x\n\n   ```python\n   if a:\n       b\n   ```\n", Some("if a:\n    b\n"));
        check("- ```python\n  a\n\n  b\n  ```\n", Some("a\n\nb\n"));
        check("12) ```python\n    a\n    ```\n", Some("a\n"));
        check("\t```python\n\tif a:\n\t\tb\n\t```\n", Some("if a:\n\tb\n"));
        check("> ```python\n> if a:\n>     b\n> ```\n> words", Some("if a:\n    b\n"));
        check("  ```python\nif a:\n    b\n  ```", Some("if a:\n    b\n"));
        // The body of a function that is to be completed keeps its indentation.
        check("```python\n    return 1\n```", Some("    return 1\n"));
        check("   ```python\n   s = '''\n x\n'''\n   ```", Some("s = '''\nx\n'''\n"));
    }

    #[test]
    fn whatever_begins_with_a_fence_outside_a_string_ends_the_block() {
        check("```python\na\n``` This works.", Some("a\n"));
        check("```python\na\n```This works, and\n```\n6\n```", Some("a\n"));
        check("```python\na\n```python\n", Some("a\n"));
        check("```python\na\n```python\nIt doubles.", Some("a\n"));
        check("```python\na\n```end\nwords\n```python\nb\n```end\n", Some("b\n"));
        check("```python\na\n\n```python\nb\n```\n", Some("b\n"));
        check("```\nwords\n```python\na\n```\n", Some("a\n"));
        check("```python\na```", Some("a"));
        check("```python\na``` doubles\n```\nb\n```", Some("a``` doubles\n"));
        check("```python\na  # b```\nb\n```", Some("a  # b```\nb\n"));
    }

    #[test]
    fn a_block_may_begin_behind_words_or_be_one_line() {
        check("```python n=int(input());print(2*n)```", Some("n=int(input());print(2*n)"));
        check("The tag ```python``` and\n```\na\n```", Some("a\n"));
        check("Use ```print``` here.\n```\na\n```", Some("a\n"));
        check("```a```", None);
        check("```bash ls -l```\nwords", None);
        check("The program: ```python\na\n```", Some("a\n"));
        check("The program: ```\na\n```", None);
    }

    #[test]
    fn a_fence_within_a_string_is_text() {
        check("```python\ns=\"\"\"\n```\n\"\"\"\na\n```\n", Some("s=\"\"\"\n```\n\"\"\"\na\n"));
        let example = "def f():\n    '''\n    ```python\n    f()\n    ```\n    '''\n    return 1\n";
        check(&format!("```python\n{example}```\nwords"), Some(example));
        check("```python\nprint('''\n```''')\na```", Some("print('''\n```''')\na"));
        check("```python\nprint(\"```\")\n```", Some("print(\"```\")\n"));
        check("```python\nx = \"```\n```", Some("x = \"```\n"));
        // A string or a quotation mark without an end hides nothing.
        check("```python\ns = '''\na\n```\nwords", Some("s = '''\na\n"));
        check("```\nit's '''\n```\n```python\na\n```", Some("a\n"));
        check("```python\nf(''' )\n```\nBetter:\n```python\nf(''' ''')\n```\n", Some("f(''' ''')\n"));
        // Cut off behind a string that ends.
        check("```python\ns='''\n```\n'''\na", Some("s='''\n```\n'''\na"));
    }

    #[test]
    fn a_bare_program_has_no_fence_outside_its_strings() {
        check_bare("print(1)", Some("print(1)"));
        check_bare("print(\"```\")\n", Some("print(\"```\")\n"));
        check_bare("s = '''\n```python\nx\n```\n'''\n", Some("s = '''\n```python\nx\n```\n'''\n"));
        check_bare("It is:\n```\na\n```", Some("a\n"));
        check_bare("~~~\na\n~~~", Some("a\n"));
        check_bare(" \n", None);
    }

    #[test]
    fn work_is_bounded() {
        let fences =
            ["```python\n'''\n", "```\n", "````\na\n", "```python\na\n~~~\n", "```x ```\n", "> ```a\n"];
        for text in fences.map(|fence| fence.repeat(20_000)) {
            let start = std::time::Instant::now();
            let _ = program(&text, Fencing::Required);
            assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", &text[..20]);
        }
    }
}
