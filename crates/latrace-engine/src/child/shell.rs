//! Command lines as a shell reads them.

/// A command line that a shell splits into these words again.
pub fn shell_line<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    // Within single quotes everything stands for itself, and a quote is written between two pairs of them.
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_the_words_again() {
        let words = ["a=1", "", "two words", "servers.urls=[\"http://a:1\"]", "it's", "$HOME", "*", "~"];
        assert_eq!(
            shell_line(&words),
            r#"a=1 '' 'two words' 'servers.urls=["http://a:1"]' 'it'\''s' '$HOME' '*' '~'"#
        );
        let script = format!("printf '%s\\n' {}", shell_line(&words));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.join("\n") + "\n");
    }
}
