//! `tojson` as transformers has it: Python's `json.dumps`, which escapes nothing for HTML.

use std::io;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error as TemplateError, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn to_json(
    value: &Value,
    positional: Rest<Value>,
    options: Kwargs,
) -> Result<Value, TemplateError> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let option = |at: usize| -> Result<Value, TemplateError> {
        let named: Option<Value> = options.get(names[at])?;
        Ok(named.or_else(|| positional.get(at).cloned()).unwrap_or_default())
    };
    let (indent, is_sorted) = (indent(&option(1)?)?, option(3)?.is_true());
    let format = PythonFormat {
        is_ascii: option(0)?.is_true(),
        separators: separators(&option(2)?, indent.is_some())?,
        indent,
        depth: 0,
        has_items: false,
    };
    options.assert_all_used()?;
    let failed = |reason: String| TemplateError::new(ErrorKind::BadSerialization, reason);
    let value = serde_json::to_value(value).map_err(|error| failed(error.to_string()))?;
    let value = if is_sorted { sorted(value) } else { value };
    let mut bytes = Vec::new();
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format));
    written.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    // Safe, or it would be escaped once more where a template asks for escaping.
    Ok(Value::from_safe_string(text))
}

/// The text of one level of indentation: so many spaces, or the text itself.
fn indent(value: &Value) -> Result<Option<String>, TemplateError> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(None),
        ValueKind::String => Ok(Some(value.as_str().unwrap_or_default().to_owned())),
        // A negative number of spaces is none, in new lines all the same.
        _ => i64::try_from(value.clone()).map(|width| Some(" ".repeat(usize::try_from(width).unwrap_or(0)))),
    }
}

/// What stands between items, and between a key and its value.
fn separators(value: &Value, is_indented: bool) -> Result<[String; 2], TemplateError> {
    if value.is_none() || value.is_undefined() {
        // Python writes no space where the line ends.
        return Ok([if is_indented { "," } else { ", " }, ": "].map(str::to_owned));
    }
    let texts: Vec<String> = value.try_iter()?.filter_map(|text| text.as_str().map(str::to_owned)).collect();
    texts.try_into().map_err(|texts: Vec<String>| {
        let message = format!("tojson: expected two texts as separators, got {}", texts.len());
        TemplateError::new(ErrorKind::InvalidOperation, message)
    })
}

/// The value with the keys of its objects in order.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(mut fields) => {
            // By code point, which is the order of UTF-8 too.
            fields.sort_keys();
            fields.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        scalar => scalar,
    }
}

struct PythonFormat {
    is_ascii: bool,
    separators: [String; 2],
    indent: Option<String>,
    depth: usize,
    /// Whether the innermost list or object that has just ended had items.
    has_items: bool,
}

impl PythonFormat {
    fn new_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(indent.as_bytes()))
    }

    fn begin<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_items = false;
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_items {
            self.new_line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.separators[0].as_bytes())?;
        }
        self.new_line(writer)
    }
}

impl Formatter for PythonFormat {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.separators[1].as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(python_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.is_ascii {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            // Python escapes all but printable ASCII, the delete character too.
            if matches!(character, ' '..='~') {
                write!(writer, "{character}")?;
            } else {
                character
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let text = match escape {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "/",
            CharEscape::Backspace => "\\b",
            CharEscape::FormFeed => "\\f",
            CharEscape::LineFeed => "\\n",
            CharEscape::CarriageReturn => "\\r",
            CharEscape::Tab => "\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text.as_bytes())
    }
}

/// A number as Python's `repr` writes it: with an exponent from 1e16 on and below 1e-4.
pub(super) fn python_float(value: f64) -> String {
    let plain = format!("{value:?}");
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() || (1e-4..1e16).contains(&magnitude) {
        return plain;
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}
