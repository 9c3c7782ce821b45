//! How traces are weighed, in words, and the bounds from stage 7.

use anyhow::Result;
use serde_json::Value;

use crate::data::{BoundPoint, Bounds};
use latrace_run::recipe::run::{Method, RunRecipe};

/// A sentence on how weights are computed and traces selected.
pub(super) fn describe(recipe: &RunRecipe) -> Result<String> {
    let config = recipe.weigh_config();
    let answer = likelihood_of_answer(config.answer.name());
    let weights = proportion(config.weighting.name(), config.ratio.name(), answer);
    Ok(match recipe.method {
        Method::Variational => format!("{weights} {}", selection(recipe.weights.selection.name())),
        // The other methods train on every trace that has a weight.
        _ => weights,
    })
}

fn likelihood_of_answer(estimator: &str) -> &'static str {
    match estimator {
        "accuracy" => "the share of right answers after it",
        "geometric-likelihood" => "the mean likelihood per token of the reference answer after it",
        _ => "the likelihood of the reference answer after it",
    }
}

fn proportion(weighting: &str, ratio: &str, answer: &str) -> String {
    match weighting {
        "uniform" => "All traces weigh the same.".to_owned(),
        "ratio-only" => format!("A trace weighs in proportion to its {ratio} likelihood ratio alone."),
        "accuracy-only" => format!("A trace weighs in proportion to {answer} alone."),
        "rho" => format!("A trace weighs in proportion to its {ratio} likelihood ratio times {answer}."),
        other => {
            format!("A trace weighs in proportion to its {ratio} likelihood ratio times {answer} ({other}).")
        }
    }
}

fn selection(name: &str) -> &'static str {
    match name {
        "weighted" => {
            "The final model learns from every trace with a weight above zero, in proportion to it."
        }
        "best" => "The final model learns from the heaviest one of each question.",
        _ => "The final model learns from some of them, drawn by weight.",
    }
}

/// The bounds from stage 7, or the surrogates over the questions where all of them are finite.
pub(super) fn bounds(counts: &Value) -> Bounds {
    let no_bounds = counts["bounds"]["reason"].as_str().map(str::to_owned);
    let (series, means, mean) = match &no_bounds {
        None => (&counts["bounds"], "of_k", "mean"),
        Some(_) => (&counts["surrogates"], "common", "mean_of_finite"),
    };
    let point = |(at, bound): (usize, &Value)| BoundPoint {
        k: at + 1,
        mean: bound[mean].as_f64(),
        standard_error: bound["standard_error"].as_f64(),
        // Of all questions, also for surrogates: those of `common` are the ones where every value is finite.
        unbounded: series["of_k"][at]["unbounded"].as_u64().unwrap_or(0) as usize,
    };
    let points = series[means].as_array().into_iter().flatten().enumerate().map(point).collect();
    Bounds { no_bounds, ratio: series["ratio"].as_str().unwrap_or_default().to_owned(), points }
}
