//! The program in a response: its last fenced block.

use crate::response::visible;

const FENCE: &str = "```";

/// Whether a program without a fence is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// Only a fenced block is a program.
    Required,
    /// Without a block the whole text is the program.
    Optional,
}

/// The last fenced block of a response, closed or cut off at the response's end; `None` where there is none
/// with content.
pub fn program(response: &str, fencing: Fencing) -> Option<String> {
    // The whole text, its thought included: a bare program has none.
    if fencing == Fencing::Optional && !response.contains(FENCE) {
        return (!response.trim().is_empty()).then(|| response.to_owned());
    }
    last_block(visible(response)?).filter(|block| !block.trim().is_empty())
}

fn last_block(text: &str) -> Option<String> {
    let mut last = None;
    let mut open: Option<String> = None;
    for line in text.split_inclusive('\n') {
        match &mut open {
            // A fence with a language opens a block and cannot close one; within a block it is text.
            Some(_) if line.trim() == FENCE => last = open.take(),
            Some(block) => block.push_str(line),
            None if line.trim_start().starts_with(FENCE) => open = Some(String::new()),
            None => {}
        }
    }
    // A response that was cut off leaves its last block open.
    open.filter(|block| !block.trim().is_empty()).or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Option<&str>) {
        assert_eq!(program(response, Fencing::Required).as_deref(), expected, "{response:?}");
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
        assert_eq!(program("print(1)", Fencing::Optional).as_deref(), Some("print(1)"));
    }
}
