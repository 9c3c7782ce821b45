//! Names of the runs of a sweep: short, the same each time, and valid as names of folders.

use super::grid::{Grid, RunSettings, SweptKey};

/// The most letters of a value, and of a whole name, that are spelt out.
const LONGEST_VALUE: usize = 32;
const LONGEST_NAME: usize = 120;

/// The name of a run's folder: the settings that vary, `n=4-seed=1`.
pub fn folder(grid: &Grid, settings: &RunSettings) -> String {
    let name = name(grid.varied(), grid, settings);
    if name.len() <= LONGEST_NAME { name } else { shortened(&name, &name, LONGEST_NAME) }
}

/// The named settings with their values.
pub fn name<'a>(keys: impl Iterator<Item = &'a SweptKey>, grid: &Grid, settings: &RunSettings) -> String {
    let part = |key: &SweptKey| format!("{}={}", short(&key.key, grid), spelt(&settings[&key.key]));
    keys.map(part).collect::<Vec<_>>().join("-")
}

/// The last part of a dotted key, or all of it where another key that varies ends alike.
fn short<'a>(key: &'a str, grid: &Grid) -> &'a str {
    let last = last_part(key);
    let alike = grid.varied().filter(|other| last_part(&other.key) == last).count();
    if alike > 1 { key } else { last }
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A value as part of a name. One that cannot stand there as it is carries its checksum, which tells it from others
/// that are spelt alike.
fn spelt(value: &str) -> String {
    let bare = unquoted(value);
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    if !bare.is_empty() && bare.len() <= LONGEST_VALUE && bare.chars().all(is_plain) {
        return bare.to_owned();
    }
    let letters: String = bare.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    shortened(letters.trim_matches('_'), value, LONGEST_VALUE)
}

/// A text without the quotes around it.
fn unquoted(value: &str) -> &str {
    let without = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    without('"').or_else(|| without('\'')).unwrap_or(value)
}

/// The beginning of a text in ASCII and the checksum of a whole one, of at most `longest` letters together.
fn shortened(text: &str, whole: &str, longest: usize) -> String {
    let sum = format!("_{:08x}", crc32c::crc32c(whole.as_bytes()));
    format!("{}{sum}", &text[..text.len().min(longest - sum.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(settings: &[&str], expected: &[&str]) {
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let grid = Grid::parse(&settings, None).unwrap();
        let names: Vec<String> = grid.combinations().iter().map(|of| folder(&grid, of)).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn names_are_the_settings_that_vary() {
        check(&["traces.n=4,8", "rounds=2", "seed=1"], &["n=4", "n=8"]);
        check(
            &["final.learning_rate=1e-4,3e-4", "seed=7,8"],
            &[
                "learning_rate=1e-4-seed=7",
                "learning_rate=1e-4-seed=8",
                "learning_rate=3e-4-seed=7",
                "learning_rate=3e-4-seed=8",
            ],
        );
    }

    #[test]
    fn keys_that_end_alike_are_named_whole() {
        check(
            &["traces.n=4,8", "answers.n=2,3", "evaluation.n=16"],
            &[
                "traces.n=4-answers.n=2",
                "traces.n=4-answers.n=3",
                "traces.n=8-answers.n=2",
                "traces.n=8-answers.n=3",
            ],
        );
    }

    #[test]
    fn what_cannot_stand_in_a_name_carries_a_checksum() {
        check(&[r#"method="rft",'grpo'"#], &["method=rft", "method=grpo"]);
        check(&[r#"skip=["a"],["b"]"#], &["skip=a_2db45d78", "skip=b_c79a9d0b"]);
        check(&["folder=../x/y,é"], &["folder=.._x_y_5262ab99", "folder=_1bab8ddc"]);
        let long = "x".repeat(50);
        let name = spelt(&long);
        assert_eq!((name.len(), name.starts_with("xxx")), (LONGEST_VALUE, true), "{name}");
        assert_ne!(name, spelt(&"x".repeat(51)));
    }
}
