//! How traces and answers were drawn. Only samples of the scored distributions themselves make a bound.

use std::fmt;

use latrace_core::SamplingParams;
use latrace_io::rows::{FieldProblem, Row, describe, field, shortest};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The field of a row that holds it.
pub const SAMPLING: &str = "sampling";

/// The distribution that samples were drawn from, as their rows state it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// 0 is greedy decoding.
    pub temperature: f64,
    /// Nucleus sampling; 1: all tokens.
    pub top_p: f64,
    /// The k most likely tokens; 0: all tokens.
    #[serde(deserialize_with = "whole")]
    pub top_k: u64,
    /// Share of the most likely token's probability; 0: all tokens.
    pub min_p: f64,
}

/// A whole number; some writers of JSON know floats alone, and write 50.0.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let is_whole = number >= 0.0 && number.fract() == 0.0;
    is_whole.then_some(number as u64).ok_or_else(|| D::Error::custom("not a whole number"))
}

/// The model's own distribution.
const PLAIN: Distribution = Distribution { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0 };

impl From<SamplingParams> for Distribution {
    fn from(params: SamplingParams) -> Distribution {
        // The decimals that the settings were written in, not those of the nearest 32-bit numbers.
        let decimal = |number: f32| shortest(number).unwrap_or(f64::from(number));
        Distribution {
            temperature: decimal(params.temperature),
            top_p: decimal(params.top_p),
            top_k: params.top_k as u64,
            min_p: decimal(params.min_p),
        }
    }
}

impl Distribution {
    /// Whether it is the model's own, at temperature 1 without truncation.
    pub fn is_plain(&self) -> bool {
        *self == PLAIN
    }

    /// The field `sampling` of a row; `None` if the row does not state it.
    ///
    /// # Errors
    /// A field of another form.
    pub fn of_row(row: &Row) -> Result<Option<Distribution>, FieldProblem> {
        let Some(value) = field(row, SAMPLING) else { return Ok(None) };
        let read = Distribution::deserialize(value).map(Some);
        read.map_err(|_| Distribution::problem(describe(value)))
    }

    /// The error of a field of another form.
    pub(super) fn problem(got: impl Into<String>) -> FieldProblem {
        FieldProblem::new(SAMPLING, "an object of temperature, top_p, top_k and min_p", got)
    }
}

/// What makes it differ from the model's own distribution: `tempered (temperature 0.7) and truncated (top_k 5)`.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differs =
            |name: &str, value: f64, plain: f64| (value != plain).then(|| format!("{name} {value}"));
        let tempered = differs("temperature", self.temperature, PLAIN.temperature);
        let truncated: Vec<String> = [
            differs("top_p", self.top_p, PLAIN.top_p),
            differs("top_k", self.top_k as f64, PLAIN.top_k as f64),
            differs("min_p", self.min_p, PLAIN.min_p),
        ]
        .into_iter()
        .flatten()
        .collect();
        let truncated = (!truncated.is_empty()).then(|| format!("truncated ({})", truncated.join(", ")));
        let both = [tempered.map(|how| format!("tempered ({how})")), truncated];
        f.write_str(&both.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }
}

/// How traces and answers were drawn; `None`: that is not stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Drawn {
    /// The distribution of traces.
    pub traces: Option<Distribution>,
    /// The distribution of answers.
    pub answers: Option<Distribution>,
}

/// The distribution of many samples: one that is not the model's own if any was drawn from such a one;
/// otherwise `None` if any does not state its own.
pub(super) fn distribution_of_all(
    samples: impl IntoIterator<Item = Option<Distribution>>,
) -> Option<Distribution> {
    let mut of_all = Some(PLAIN);
    for sample in samples {
        match sample {
            Some(distribution) if !distribution.is_plain() => return Some(distribution),
            Some(_) => {}
            None => of_all = None,
        }
    }
    of_all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEMPERED: Distribution = Distribution { temperature: 0.7, ..PLAIN };

    #[test]
    fn what_is_not_plain_is_named() {
        let check = |distribution: Distribution, expected: &str| {
            assert_eq!(distribution.to_string(), expected);
            assert!(!distribution.is_plain());
        };
        check(TEMPERED, "tempered (temperature 0.7)");
        check(Distribution { top_k: 50, min_p: 0.1, ..PLAIN }, "truncated (top_k 50, min_p 0.1)");
        check(
            Distribution { top_p: 0.9, ..TEMPERED },
            "tempered (temperature 0.7) and truncated (top_p 0.9)",
        );
        assert!(Distribution::from(SamplingParams::plain(9)).is_plain());
        let params = SamplingParams { temperature: 0.7, ..SamplingParams::plain(9) };
        assert_eq!(Distribution::from(params), TEMPERED);
    }

    #[test]
    fn rows_state_it_or_do_not() {
        let of = |sampling: serde_json::Value| {
            let row: Row = [(SAMPLING.to_owned(), sampling)].into_iter().collect();
            Distribution::of_row(&row)
        };
        let stated = json!({"temperature": 0.7, "top_p": 1, "top_k": 0, "min_p": 0.0});
        assert_eq!(of(stated), Ok(Some(TEMPERED)));
        let stated = json!({"temperature": 0.7, "top_p": 1, "top_k": 50.0, "min_p": 0.0});
        assert_eq!(of(stated), Ok(Some(Distribution { top_k: 50, ..TEMPERED })));
        assert_eq!(of(json!(null)), Ok(None));
        for other in
            [json!({"temperature": 0.7}), json!({"temperature": 1, "top_p": 1, "top_k": 0.5, "min_p": 0})]
        {
            let error = of(other).unwrap_err().to_string();
            assert!(error.contains("temperature, top_p, top_k and min_p, got an object"), "{error}");
        }
    }

    #[test]
    fn one_tempered_sample_among_many_tempers_all() {
        let check = |samples: &[Option<Distribution>], expected: Option<Distribution>| {
            assert_eq!(distribution_of_all(samples.iter().copied()), expected);
        };
        check(&[Some(PLAIN), Some(PLAIN)], Some(PLAIN));
        check(&[Some(PLAIN), None], None);
        check(&[None, Some(TEMPERED), Some(PLAIN)], Some(TEMPERED));
    }
}
