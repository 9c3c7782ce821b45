//! Templates for Jinja2 in the dialect of minijinja.
//!
//! Differs in what minijinja lacks: `{% generation %}` is a block of scope, as in transformers, where it marks what
//! the assistant wrote; `a % b` is a function, because minijinja has no operator for texts; line ends are `\n`.

use std::iter::successors;

/// The function that `a % b` becomes.
pub(super) const PERCENT: &str = "python_percent";

/// A template's source as minijinja reads it.
pub(super) fn translated(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut translated = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|opening| rest.find(opening)).min() {
        let (text, tag) = rest.split_at(at);
        let (tag, behind) = tag.split_at(tag_length(tag));
        translated.push_str(text);
        translated.push_str(&translated_tag(tag));
        rest = behind;
    }
    translated + rest
}

/// The length of the tag, comment or raw block that a text begins with.
fn tag_length(text: &str) -> usize {
    if text.starts_with("{#") {
        return text.find("#}").map_or(text.len(), |at| at + 2);
    }
    let length = expression_length(text, if text.starts_with("{%") { "%}" } else { "}}" });
    if statement(&text[..length]).is_none_or(|(_, name, _)| name != "raw") {
        return length;
    }
    // What is raw is copied up to the tag that ends it.
    let tags = text.match_indices("{%").map(|(at, _)| at).skip(1);
    let ends = tags.map(|at| (at, expression_length(&text[at..], "%}")));
    let mut ends =
        ends.filter(|(at, length)| statement(&text[*at..at + length]).is_some_and(|tag| tag.1 == "endraw"));
    ends.next().map_or(text.len(), |(at, length)| at + length)
}

/// The length of a tag up to the `closing` that no quotes or brackets surround.
fn expression_length(text: &str, closing: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 2);
    while at < text.len() {
        let rest = &text[at..];
        if depth == 0 && rest.starts_with(closing) {
            return at + closing.len();
        }
        match rest.as_bytes()[0] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += token_length(rest);
    }
    text.len()
}

/// A statement's opening with what controls white space, its name, and what follows.
fn statement(tag: &str) -> Option<(&str, &str, &str)> {
    let inner = tag.strip_prefix("{%")?;
    let at = tag.len() - inner.trim_start_matches(['-', '+']).trim_start().len();
    let name = tag[at..].find(|character: char| !is_word(character)).map_or(tag.len(), |end| at + end);
    Some((&tag[..at], &tag[at..name], &tag[name..]))
}

fn translated_tag(tag: &str) -> String {
    match statement(tag) {
        Some((before, "generation", behind)) => format!("{before}with{behind}"),
        Some((before, "endgeneration", behind)) => format!("{before}endwith{behind}"),
        Some((_, "raw", _)) => tag.to_owned(),
        // The closing `%}` of a statement is none of its operators.
        Some((before, name, behind)) => match behind.strip_suffix("%}") {
            Some(expression) => format!("{before}{}%}}", with_function(&format!("{name}{expression}"))),
            None => tag.to_owned(),
        },
        None if tag.starts_with("{{") => with_function(tag),
        None => tag.to_owned(),
    }
}

/// An expression with the function in place of each `%`.
fn with_function(expression: &str) -> String {
    if !expression.contains('%') {
        return expression.to_owned();
    }
    let mut tokens: Vec<String> = tokens(expression).map(str::to_owned).collect();
    while let Some(at) = tokens.iter().position(|token| token == "%") {
        let (start, end) = (left_end(&tokens, at), right_end(&tokens, at));
        // The first of the expression: what is left of it has no other.
        let (left, right) = (tokens[start..at].concat(), with_function(&arguments(&tokens[at + 1..end])));
        if left.trim().is_empty() || right.trim().is_empty() {
            // No expression: minijinja says what is wrong with it.
            return expression.to_owned();
        }
        tokens.splice(start..end, [format!(" {PERCENT}({left}, {right})")]);
    }
    tokens.concat()
}

/// The right operand as arguments: a tuple as one for each of its items.
fn arguments(tokens: &[String]) -> String {
    let words: Vec<&str> = tokens.iter().map(String::as_str).filter(|token| !is_space(token)).collect();
    let is_group = words.first() == Some(&"(") && group_end(&words, 0) == words.len();
    let commas = |words: &[&str]| {
        let mut depth = 0;
        words.iter().any(|word| {
            depth += i32::from(is_opening(word)) - i32::from(is_closing(word));
            *word == "," && depth == 1
        })
    };
    if !is_group || !commas(&words) {
        return tokens.concat();
    }
    let items = tokens.concat();
    let items = items.trim().strip_prefix('(').and_then(|items| items.strip_suffix(')')).unwrap_or(&items);
    // The comma that makes a tuple of one item.
    items.trim().trim_end_matches(',').to_owned()
}

/// Where the left operand of the operator at `at` begins: at what binds weaker, or where its bracket opens.
fn left_end(tokens: &[String], at: usize) -> usize {
    const KEYWORDS: [&str; 15] = [
        "and", "or", "not", "in", "is", "if", "elif", "else", "set", "for", "with", "do", "call", "filter",
        "return",
    ];
    let mut start = at;
    while start > 0 {
        let token = tokens[start - 1].as_str();
        let is_attribute = start > 1 && tokens[start - 2] == ".";
        start = match token {
            _ if is_closing(token) => match group_start(tokens, start - 1) {
                Some(start) => start,
                None => return start,
            },
            "-" | "+" if is_sign(tokens, start - 1) => start - 1,
            "-" | "+" | "~" | "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" => return start,
            _ if is_opening(token) || (KEYWORDS.contains(&token) && !is_attribute) => return start,
            _ => start - 1,
        };
    }
    start
}

/// Where the right operand of the operator at `at` ends: behind its signs, what it begins with, and what follows
/// without weaker operator.
fn right_end(tokens: &[String], at: usize) -> usize {
    let skip = |mut at: usize| {
        while tokens.get(at).is_some_and(|token| is_space(token)) {
            at += 1;
        }
        at
    };
    let mut end = skip(at + 1);
    while tokens.get(end).is_some_and(|token| ["-", "+"].contains(&token.as_str())) {
        end = skip(end + 1);
    }
    end = operand_end(tokens, end);
    loop {
        let next = skip(end);
        end = match tokens.get(next).map(String::as_str) {
            Some("." | "|") => operand_end(tokens, skip(next + 1)),
            Some("**") => right_end(tokens, next),
            Some("(" | "[") => operand_end(tokens, next),
            _ => return end,
        };
    }
}

/// Behind a bracket's group, or one token.
fn operand_end(tokens: &[String], at: usize) -> usize {
    match tokens.get(at) {
        Some(token) if is_opening(token) => group_end(tokens, at),
        Some(_) => at + 1,
        None => at,
    }
}

fn group_end<T: AsRef<str>>(tokens: &[T], at: usize) -> usize {
    let mut depth = 0;
    let end = tokens[at..].iter().position(|token| {
        depth += i32::from(is_opening(token.as_ref())) - i32::from(is_closing(token.as_ref()));
        depth == 0
    });
    end.map_or(tokens.len(), |end| at + end + 1)
}

fn group_start(tokens: &[String], at: usize) -> Option<usize> {
    let mut depth = 0;
    tokens[..=at].iter().rposition(|token| {
        depth += i32::from(is_closing(token)) - i32::from(is_opening(token));
        depth == 0
    })
}

/// Whether a minus or plus is a sign: nothing, or an operator, stands before it.
fn is_sign(tokens: &[String], at: usize) -> bool {
    let before = tokens[..at].iter().rfind(|token| !is_space(token));
    before.is_none_or(|token| {
        !is_closing(token) && !token.ends_with(['\'', '"']) && !token.chars().any(is_word)
    })
}

fn is_opening(token: &str) -> bool {
    // Of a whole expression, the braces of its tag are brackets too.
    ["(", "[", "{"].contains(&token)
}

fn is_closing(token: &str) -> bool {
    [")", "]", "}"].contains(&token)
}

fn is_space(token: &str) -> bool {
    token.chars().all(char::is_whitespace)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The tokens of an expression, white space too.
fn tokens(expression: &str) -> impl Iterator<Item = &str> {
    let first = Some(expression.split_at(token_length(expression)));
    successors(first, |(_, rest)| Some(rest.split_at(token_length(rest))))
        .map(|(token, _)| token)
        .take_while(|token| !token.is_empty())
}

/// The length of the token that a text begins with.
fn token_length(text: &str) -> usize {
    let run = |is_part: fn(char) -> bool| text.find(|character| !is_part(character)).unwrap_or(text.len());
    let Some(first) = text.chars().next() else { return 0 };
    match first {
        '\'' | '"' => quoted_length(text, first),
        _ if first.is_whitespace() => run(char::is_whitespace),
        // Numbers with their point: `1.5` is no attribute.
        '0'..='9' => run(|character| is_word(character) || character == '.'),
        _ if is_word(first) => run(is_word),
        _ if ["**", "//", "==", "!=", "<=", ">="].iter().any(|operator| text.starts_with(operator)) => 2,
        _ => first.len_utf8(),
    }
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == quote && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(translated(source), expected);
    }

    #[test]
    fn a_percent_sign_becomes_a_function_of_its_operands() {
        check("{{ a % b }}", "{{ python_percent( a ,  b) }}");
    }

    #[test]
    fn operands_end_where_an_operator_binds_weaker() {
        check("{{ 1 + 2 * -a.b(c)[d] % e|f ~ g }}", "{{ 1 + python_percent( 2 * -a.b(c)[d] ,  e|f) ~ g }}");
        check("{% if x % 2 == 0 -%}", "{% if python_percent( x ,  2) == 0 -%}");
        check("{{ '%s' % (a, '%s' % b) }}", "{{ python_percent( '%s' , a, python_percent( '%s' ,  b)) }}");
    }

    #[test]
    fn what_is_no_expression_stays() {
        for text in [
            "{# a % b #}",
            "{% raw %}{{ a % b }}{% generation %}{% endraw %}",
            "{{ '%' }}",
            "{{ a % ",
            "{{ % a }}",
        ] {
            check(text, text);
        }
    }
}
