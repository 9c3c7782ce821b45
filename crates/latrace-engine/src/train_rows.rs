//! Rows of `latrace train`: a prompt, a response, and loss weights.

use latrace_lm::{Policy, TrainRow, Weights};
use serde_json::Value;

use crate::row_tokens::{PromptAndResponse, prompt_and_response};
use crate::text_codec::TextCodec;
use latrace_io::rows::{FieldProblem, Place, Row, describe, field, id_of, number_of};

/// A row with its token ids and one weight per response token. Without an `id`, the line or row number names
/// it.
pub fn train_row(place: Place, row: &Row, text: &TextCodec) -> Result<TrainRow, FieldProblem> {
    let id = name_of(place, row)?;
    let PromptAndResponse { prompt, response } = prompt_and_response(row, text)?;
    let weights = weights_of(row, response.len())?;
    let policy = policy_of(row, response.len())?;
    Ok(TrainRow { id, prompt_len: prompt.len(), tokens: [prompt, response].concat(), weights, policy })
}

fn name_of(place: Place, row: &Row) -> Result<String, FieldProblem> {
    Ok(match id_of(row)? {
        Some(Value::String(id)) => id,
        Some(id) => id.to_string(),
        None => place.number().to_string(),
    })
}

/// `weight` for every token (default 1), or `token_weights` one by one.
fn weights_of(row: &Row, response_len: usize) -> Result<Weights, FieldProblem> {
    Ok(either(row, ["weight", "token_weights"], response_len, weight_in)?.unwrap_or(Weights::Row(1.0)))
}

/// What a clipped policy gradient needs: `old_logprobs`, and `advantages` one by one or one `advantage` for
/// all tokens.
fn policy_of(row: &Row, response_len: usize) -> Result<Option<Policy>, FieldProblem> {
    let advantages = either(row, ["advantage", "advantages"], response_len, number_in)?;
    let old_logp = field(row, "old_logprobs")
        .map(|values| list_in("old_logprobs", values, response_len, number_in))
        .transpose()?;
    let lacks = |name: &str, expected: &str| Err(FieldProblem::new(name, expected, "nothing"));
    // Rows with only one of the two would be trained on without the ratio or without a direction.
    match (advantages, old_logp) {
        (None, None) => Ok(None),
        // Every token counts as drawn: no field of a row can say that some were given.
        (Some(advantages), Some(old_logp)) => Ok(Some(Policy { advantages, given: 0..0, old_logp })),
        (Some(_), None) => lacks("old_logprobs", "a list beside the advantages"),
        (None, Some(_)) => {
            lacks("advantages", "a list, or a number in \"advantage\", beside \"old_logprobs\"")
        }
    }
}

/// One number for all response tokens, in the first of two fields, or one for each, in the second.
fn either(
    row: &Row,
    [one, each]: [&str; 2],
    response_len: usize,
    read: NumberReader,
) -> Result<Option<Weights>, FieldProblem> {
    match (field(row, one), field(row, each)) {
        (Some(_), Some(_)) => Err(FieldProblem::new(one, format!("either \"{one}\" or \"{each}\""), "both")),
        (Some(value), None) => Ok(Some(Weights::Row(read(one, value)?))),
        (None, Some(values)) => Ok(Some(Weights::PerToken(list_in(each, values, response_len, read)?))),
        (None, None) => Ok(None),
    }
}

type NumberReader = fn(&str, &Value) -> Result<f32, FieldProblem>;

fn list_in(
    name: &str,
    value: &Value,
    response_len: usize,
    read: NumberReader,
) -> Result<Vec<f32>, FieldProblem> {
    let Some(values) = value.as_array().filter(|values| values.len() == response_len) else {
        let expected = format!("a list of {response_len}, one per response token");
        return Err(FieldProblem::new(name, expected, describe(value)));
    };
    values.iter().enumerate().map(|(at, value)| read(&format!("{name}[{at}]"), value)).collect()
}

fn weight_in(name: &str, value: &Value) -> Result<f32, FieldProblem> {
    match finite(value) {
        Some(weight) if weight >= 0.0 => Ok(weight),
        _ => Err(FieldProblem::new(name, "a finite number of at least 0", describe(value))),
    }
}

fn number_in(name: &str, value: &Value) -> Result<f32, FieldProblem> {
    finite(value).ok_or_else(|| FieldProblem::new(name, "a finite number", describe(value)))
}

fn finite(value: &Value) -> Option<f32> {
    // As an `f32`: a number that is finite in the file may be too large for one.
    number_of(value).map(|number| number as f32).filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(row: Value, expected: Result<Weights, &str>) {
        let Value::Object(row) = row else { panic!("expected an object") };
        let got = weights_of(&row, 2).map_err(|problem| problem.to_string());
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[test]
    fn weights_are_one_by_default_or_given_once_or_by_token() {
        check(json!({}), Ok(Weights::Row(1.0)));
        check(json!({"weight": 0}), Ok(Weights::Row(0.0)));
        check(json!({"weight": 0.25, "token_weights": null}), Ok(Weights::Row(0.25)));
        check(json!({"token_weights": [1, 0.5]}), Ok(Weights::PerToken(vec![1.0, 0.5])));
    }

    #[test]
    fn weights_that_make_no_sense_are_named() {
        check(
            json!({"weight": -1}),
            Err("field \"weight\": expected a finite number of at least 0, got number -1"),
        );
        check(
            json!({"weight": 1e300}),
            Err("field \"weight\": expected a finite number of at least 0, got number 1e+300"),
        );
        check(
            json!({"weight": "NaN"}),
            Err("field \"weight\": expected a finite number of at least 0, got string \"NaN\""),
        );
        check(
            json!({"token_weights": [1]}),
            Err("field \"token_weights\": expected a list of 2, one per response token, got a list of 1"),
        );
        check(
            json!({"token_weights": [1, -2]}),
            Err("field \"token_weights[1]\": expected a finite number of at least 0, got number -2"),
        );
        check(
            json!({"weight": 1, "token_weights": [1, 1]}),
            Err("field \"weight\": expected either \"weight\" or \"token_weights\", got both"),
        );
    }

    #[test]
    fn a_policy_row_has_advantages_and_old_log_probs_or_neither() {
        let policy = |row: Value| policy_of(row.as_object().unwrap(), 2);
        assert_eq!(policy(json!({})), Ok(None));
        let both = policy(json!({"advantage": -1, "old_logprobs": [-0.5, -1]})).unwrap();
        assert_eq!(
            both,
            Some(Policy { advantages: Weights::Row(-1.0), given: 0..0, old_logp: vec![-0.5, -1.0] })
        );
        assert!(policy(json!({"advantages": [1, 2]})).is_err());
        assert!(policy(json!({"old_logprobs": [-1, -1]})).is_err());
    }
}
