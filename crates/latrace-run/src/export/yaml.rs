//! A minimal YAML writer for settings.

use std::fmt::Write;

/// A mapping, written line by line.
#[derive(Debug, Default)]
pub(super) struct Yaml(String);

impl Yaml {
    /// A comment.
    pub(super) fn comment(mut self, text: &str) -> Yaml {
        let _ = writeln!(self.0, "# {text}");
        self
    }

    /// A string, quoted as in JSON, which is valid YAML.
    pub(super) fn text(mut self, key: &str, value: &str) -> Yaml {
        let _ = writeln!(self.0, "{key}: {}", serde_json::Value::from(value));
        self
    }

    /// An integer.
    pub(super) fn whole(mut self, key: &str, value: u64) -> Yaml {
        let _ = writeln!(self.0, "{key}: {value}");
        self
    }

    /// A number, without an exponent: YAML 1.1 parsers read `1e-5` as a string.
    pub(super) fn number(mut self, key: &str, value: f64) -> Yaml {
        let plain = format!("{value}");
        let point = if plain.contains('.') { "" } else { ".0" };
        let _ = writeln!(self.0, "{key}: {plain}{point}");
        self
    }

    /// A boolean.
    pub(super) fn flag(mut self, key: &str, value: bool) -> Yaml {
        let _ = writeln!(self.0, "{key}: {value}");
        self
    }

    /// The document.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_reads_back_as_what_it_is() {
        let yaml = Yaml::default()
            .comment("c")
            .text("a", "x: \"y\"")
            .whole("b", 3)
            .number("c", 1e-5)
            .number("d", 2.0)
            .flag("e", true)
            .into_text();
        assert_eq!(yaml, "# c\na: \"x: \\\"y\\\"\"\nb: 3\nc: 0.00001\nd: 2.0\ne: true\n");
    }
}
