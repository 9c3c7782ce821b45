//! What templates do with values as in Python: methods of texts, `%`, and how values are printed.

use minijinja::formatting::{self, FormatStyle};
use minijinja::value::{Rest, ValueKind, from_args};
use minijinja::{Error as TemplateError, ErrorKind, Output, State, Value, escape_formatter};

use super::json::python_float;

type Result<T> = std::result::Result<T, TemplateError>;

/// Methods that templates call on values: those of minijinja, and more of Python's texts.
pub(crate) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value> {
    match value.as_str().map(|text| of_text(text, method, args)).transpose()?.flatten() {
        Some(value) => Ok(value),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// `None` for a method that is minijinja's.
fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match method {
        "rsplit" => rsplit(text, args)?,
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            partition(text, separator, method)
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            Value::from(format!("{sign}{digits:0>width$}", width = width.saturating_sub(sign.len())))
        }
        "ljust" | "rjust" | "center" => justified(text, method, args)?,
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(part) } else { text.rfind(part) };
            let at = at.ok_or_else(|| wrong("substring not found".to_owned()))?;
            Value::from(text[..at].chars().count())
        }
        "startswith" if args.len() > 1 => {
            let (prefix, start): (Value, usize) = from_args(args)?;
            let behind: String = text.chars().skip(start).collect();
            return of_text_with(&behind, &prefix).map(Some);
        }
        _ => return Ok(None),
    }))
}

fn of_text_with(text: &str, prefix: &Value) -> Result<Value> {
    if let Some(prefix) = prefix.as_str() {
        return Ok(Value::from(text.starts_with(prefix)));
    }
    let mut prefixes = prefix.try_iter()?;
    Ok(Value::from(prefixes.any(|prefix| prefix.as_str().is_some_and(|prefix| text.starts_with(prefix)))))
}

fn wrong(message: String) -> TemplateError {
    TemplateError::new(ErrorKind::InvalidOperation, message)
}

/// `rsplit(sep=None, maxsplit=-1)`.
fn rsplit(text: &str, args: &[Value]) -> Result<Value> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
    // A negative number is no limit.
    let parts =
        most.and_then(|most| usize::try_from(most).ok()).map_or(usize::MAX, |most| most.saturating_add(1));
    let mut split: Vec<&str> = match separator {
        Some("") => return Err(wrong("empty separator".to_owned())),
        Some(separator) => text.rsplitn(parts, separator).collect(),
        None => words_from_the_end(text, parts),
    };
    split.reverse();
    Ok(Value::from_iter(split))
}

/// Words, the last first; the rest is one part once there are as many as `parts`.
fn words_from_the_end(text: &str, parts: usize) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_end());
    while !rest.is_empty() {
        let start = match rest.rfind(char::is_whitespace) {
            Some(at) if words.len() + 1 < parts => at + rest[at..].chars().next().map_or(1, char::len_utf8),
            _ => 0,
        };
        words.push(&rest[start..]);
        rest = rest[..start].trim_end();
    }
    words
}

fn partition(text: &str, separator: &str, method: &str) -> Value {
    let is_last = method == "rpartition";
    let split = if is_last { text.rsplit_once(separator) } else { text.split_once(separator) };
    Value::from_iter(match split {
        Some((before, behind)) => [before, separator, behind],
        None if is_last => ["", "", text],
        None => [text, "", ""],
    })
}

fn justified(text: &str, method: &str, args: &[Value]) -> Result<Value> {
    let (width, fill): (usize, Option<char>) = from_args(args)?;
    let missing = width.saturating_sub(text.chars().count());
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd one to the left where the width is odd too.
        _ => missing / 2 + (missing & width & 1),
    };
    let fill = |count: usize| fill.unwrap_or(' ').to_string().repeat(count);
    Ok(Value::from(format!("{}{text}{}", fill(left), fill(missing - left))))
}

/// `left % right`: a text with values in place of its directives, or the remainder of a division.
pub(super) fn percent(left: &Value, right: Rest<Value>) -> Result<Value> {
    let Some(format) = left.as_str() else { return remainder(left, &right) };
    // Printed here, as Python prints it: a directive for texts refuses whatever is none.
    let printed = |value: &Value| match value.kind() {
        ValueKind::Number | ValueKind::String | ValueKind::Map => value.clone(),
        _ => Value::from(value.to_string()),
    };
    let values: Vec<Value> = right.iter().map(printed).collect();
    formatting::format(FormatStyle::Printf, format, &values).map(Value::from)
}

/// The remainder with the sign of the divisor, as in Python.
fn remainder(left: &Value, right: &[Value]) -> Result<Value> {
    let [right] = right else { return Err(wrong("% expects two numbers".to_owned())) };
    let numbers = || wrong(format!("cannot divide {} by {}", left.kind(), right.kind()));
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let rest = left.checked_rem(right).ok_or_else(numbers)?;
        return Ok(Value::from(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }));
    }
    let (left, right) = (f64::try_from(left.clone())?, f64::try_from(right.clone())?);
    if right == 0.0 {
        return Err(numbers());
    }
    Ok(Value::from(left - right * (left / right).floor()))
}

/// A value as a template prints it.
pub(super) fn print(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<()> {
    match (value.kind(), f64::try_from(value.clone())) {
        (ValueKind::Number, Ok(number)) if !value.is_integer() => {
            Ok(output.write_str(&python_float(number))?)
        }
        _ => escape_formatter(output, state, value),
    }
}

/// The filter `escape`, with the entities that Jinja2 writes.
pub(super) fn escape(value: Value) -> Value {
    const ENTITIES: [(&str, &str); 5] =
        [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ("\"", "&#34;")];
    if value.is_safe() {
        return value;
    }
    let text = ENTITIES.iter().fold(value.to_string(), |text, (raw, entity)| text.replace(raw, entity));
    Value::from_safe_string(text)
}
