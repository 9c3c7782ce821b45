//! The values of a sweep: `key=a,b,c`, and every combination of them.

use std::collections::BTreeMap;

use anyhow::Result;
use latrace_io::failure::Failure;

/// The setting that `--seeds` varies.
pub(super) const SEED: &str = "seed";

/// A setting and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweptKey {
    /// Its dotted name.
    pub key: String,
    /// Its values, as a command line has them.
    pub values: Vec<String>,
}

impl SweptKey {
    /// Whether it takes more than one value.
    pub fn varies(&self) -> bool {
        self.values.len() > 1
    }
}

/// The settings of a run by their keys.
pub type RunSettings = BTreeMap<String, String>;

/// The settings of a sweep, in the order in which they were given; seeds come last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// All settings, also those with one value.
    pub keys: Vec<SweptKey>,
}

impl Grid {
    /// Reads `key=a,b,c` settings, and seeds: their number, or a list of them.
    ///
    /// # Errors
    /// What is no setting; a key that is given twice; an empty or repeated value; no value to vary.
    pub fn parse(settings: &[String], seeds: Option<&str>) -> Result<Grid> {
        let mut keys: Vec<SweptKey> = settings.iter().map(|text| swept(text)).collect::<Result<_>>()?;
        if let Some(seeds) = seeds {
            keys.push(SweptKey { key: SEED.to_owned(), values: seed_values(seeds)? });
        }
        for (place, key) in keys.iter().enumerate() {
            check_values(key)?;
            if keys[..place].iter().any(|earlier| earlier.key == key.key) {
                return Err(given_twice(&key.key).into());
            }
        }
        let grid = Grid { keys };
        if grid.varied().next().is_some() { Ok(grid) } else { Err(nothing_varies().into()) }
    }

    /// The settings with more than one value.
    pub fn varied(&self) -> impl Iterator<Item = &SweptKey> {
        self.keys.iter().filter(|key| key.varies())
    }

    /// Every combination of the values. The last key varies fastest, so that the seeds of a setting are together.
    pub fn combinations(&self) -> Vec<RunSettings> {
        let mut combinations = vec![RunSettings::new()];
        for SweptKey { key, values } in &self.keys {
            let with = |settings: &RunSettings, value: &String| {
                let mut settings = settings.clone();
                settings.insert(key.clone(), value.clone());
                settings
            };
            let extended =
                combinations.iter().flat_map(|known| values.iter().map(|value| with(known, value)));
            combinations = extended.collect();
        }
        combinations
    }
}

fn swept(text: &str) -> Result<SweptKey> {
    let (key, values) = text.split_once('=').ok_or_else(|| no_setting(text))?;
    Ok(SweptKey { key: key.trim().to_owned(), values: split(values) })
}

/// Splits at commas outside brackets and quotes: a list in brackets is one value.
fn split(values: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quote) = (vec![String::new()], 0_usize, None);
    for letter in values.chars() {
        match (quote, letter) {
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// One number is how many seeds there are, from 0; several are the seeds themselves.
fn seed_values(text: &str) -> Result<Vec<String>> {
    let parts = split(text);
    let numbers: Option<Vec<u64>> = parts.iter().map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[count]) if count > 0 => Ok((0..count).map(|seed| seed.to_string()).collect()),
        Some([_, _, ..]) => Ok(parts),
        _ => Err(no_seeds(text).into()),
    }
}

fn check_values(SweptKey { key, values }: &SweptKey) -> Result<()> {
    if values.len() > 1 && values.iter().any(String::is_empty) {
        return Err(Failure::usage(format!("{key}: a value between two commas is empty")).into());
    }
    match values.iter().enumerate().find(|(place, value)| values[..*place].contains(value)) {
        Some((_, value)) => Err(Failure::usage(format!("{key}: the value {value} is listed twice")).into()),
        None => Ok(()),
    }
}

fn no_setting(text: &str) -> Failure {
    Failure::usage(format!("expected key=value,value, got \"{text}\""))
        .hint("write settings and their values as traces.n=4,8")
}

fn given_twice(key: &str) -> Failure {
    Failure::usage(format!("{key} is given twice"))
        .hint(format!("list its values, separated by commas: {key}=1,2"))
}

fn no_seeds(text: &str) -> Failure {
    Failure::usage(format!("--seeds: expected a number of seeds, or a list of them, got \"{text}\""))
        .hint("--seeds 3 is --seeds 0,1,2; one seed alone is seed=5")
}

fn nothing_varies() -> Failure {
    Failure::usage("a sweep needs a setting with several values")
        .hint("add --seeds 3, or list values as in traces.n=4,8; `latrace run` carries out a single run")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(settings: &[&str], seeds: Option<&str>) -> Result<Grid> {
        Grid::parse(&settings.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), seeds)
    }

    #[track_caller]
    fn check_values_of(setting: &str, expected: &[&str]) {
        assert_eq!(swept(setting).unwrap().values, expected, "{setting}");
    }

    #[test]
    fn commas_outside_brackets_and_quotes_separate_values() {
        check_values_of("traces.n=4, 8,16", &["4", "8", "16"]);
        check_values_of(r#"skip=["a","b"]"#, &[r#"["a","b"]"#]);
        check_values_of(r#"skip=["a","b"],[],["c]",'d,']"#, &[r#"["a","b"]"#, "[]", r#"["c]",'d,']"#]);
        check_values_of("a={x=1,y=2},3", &["{x=1,y=2}", "3"]);
        check_values_of(r#"a="1,2",'3,4'"#, &[r#""1,2""#, "'3,4'"]);
        check_values_of("a=x=y", &["x=y"]);
        check_values_of("a=", &[""]);
    }

    #[test]
    fn seeds_are_a_number_or_a_list_and_vary_fastest() {
        let values = |seeds: &str| grid(&[], Some(seeds)).unwrap().keys[0].values.clone();
        assert_eq!(
            (values("3"), values("7,5")),
            (vec!["0".into(), "1".into(), "2".into()], vec!["7".into(), "5".into()])
        );
        let combinations = grid(&["n=4,8", "fixed=1"], Some("2")).unwrap().combinations();
        let shown: Vec<String> =
            combinations.iter().map(|of| format!("{} {} {}", of["n"], of["fixed"], of["seed"])).collect();
        assert_eq!(shown, ["4 1 0", "4 1 1", "8 1 0", "8 1 1"]);
    }

    #[track_caller]
    fn check_refused(settings: &[&str], seeds: Option<&str>, expected: &str) {
        let error = grid(settings, seeds).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_no_sweep_is_refused() {
        check_refused(&["traces.n"], None, "expected key=value,value");
        check_refused(&["n=4", "n=8"], None, "n is given twice");
        check_refused(&["seed=4"], Some("2"), "seed is given twice");
        check_refused(&["n=4,,8"], None, "a value between two commas is empty");
        check_refused(&["n=4,8,4"], None, "the value 4 is listed twice");
        check_refused(&["n=4"], None, "a sweep needs a setting with several values");
        check_refused(&["n=4"], Some("1"), "a sweep needs a setting with several values");
        for seeds in ["0", "", "x", "1,", "-1,2"] {
            check_refused(&[], Some(seeds), "--seeds: expected a number of seeds");
        }
    }
}
