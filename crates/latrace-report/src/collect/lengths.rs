//! Length of traces against log pi − log q: Figure 4 of the paper, as a density.

use anyhow::Result;
use latrace_objective::TraceScore;
use latrace_objective::diagnostics::trace_length_bias;

use super::super::data::{Density, LengthFigure, bin};

/// Maximum number of bins per axis.
const COLUMNS: usize = 30;
const ROWS: usize = 22;
/// Share of traces beyond each end of the vertical axis, which are counted in the outermost bin: otherwise a
/// few outliers would squeeze the rest into one bin.
const BEYOND: f64 = 0.005;

/// The densities of scored traces; `None` if there are none.
pub(super) fn lengths(scores: &[TraceScore]) -> Result<Option<LengthFigure>> {
    if scores.is_empty() { Ok(None) } else { figure(scores).map(Some) }
}

fn figure(scores: &[TraceScore]) -> Result<LengthFigure> {
    let bias = trace_length_bias(scores)?;
    let summed = density(scores, TraceScore::log_ratio_sum, bias.summed);
    let mean = density(scores, log_ratio_mean, bias.mean);
    Ok(LengthFigure { traces: scores.len(), summed, mean })
}

/// log pi − log q per token (nats).
fn log_ratio_mean(score: &TraceScore) -> f64 {
    // A trace without tokens has a mean of 0 rather than NaN.
    score.log_ratio_sum() / score.tokens.max(1) as f64
}

fn density(scores: &[TraceScore], value: impl Fn(&TraceScore) -> f64, correlation: Option<f64>) -> Density {
    let (x, columns) = length_axis(scores);
    let y = ends(scores.iter().map(&value).collect());
    let mut counts = vec![vec![0; columns]; ROWS];
    for score in scores {
        let row = bin(value(score), y.0, y.1, ROWS);
        counts[row][bin(score.tokens as f64, x.0, x.1, columns)] += 1;
    }
    Density { x, y, counts, correlation }
}

/// The axis of lengths (tokens), and its number of bins.
fn length_axis(scores: &[TraceScore]) -> ((f64, f64), usize) {
    let (shortest, longest) = extremes(scores);
    // If there are few lengths, one bin for each, centred on it.
    ((shortest as f64 - 0.5, longest as f64 + 0.5), COLUMNS.min(longest - shortest + 1))
}

/// The least and the greatest length of a trace, in tokens.
fn extremes(scores: &[TraceScore]) -> (usize, usize) {
    let lengths = scores.iter().map(|score| score.tokens);
    lengths.fold((usize::MAX, 0), |(low, high), length| (low.min(length), high.max(length)))
}

/// The range that contains nearly all values.
fn ends(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    wide_enough(quantile(&values, BEYOND), quantile(&values, 1.0 - BEYOND))
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn wide_enough(low: f64, high: f64) -> (f64, f64) {
    // Equal values, such as those of traces that pi itself sampled, still need an axis of non-zero width.
    if high - low > 1e-6 { (low, high) } else { (low - 0.5, high + 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(tokens: usize, per_token: f64) -> TraceScore {
        TraceScore { logp_sum: per_token * tokens as f64, logq_sum: 0.0, tokens }
    }

    #[test]
    fn every_trace_is_in_a_cell_of_its_length() {
        let scores: Vec<TraceScore> =
            (0..400).map(|at| score(5 + at % 4, -0.1 - (at % 7) as f64 / 100.0)).collect();
        let lengths = lengths(&scores).unwrap().unwrap();
        assert_eq!(lengths.traces, 400);
        for density in [&lengths.summed, &lengths.mean] {
            assert_eq!((density.x, density.counts[0].len()), ((4.5, 8.5), 4));
            let by_length: Vec<u64> =
                (0..4).map(|column| density.counts.iter().map(|row| row[column]).sum()).collect();
            assert_eq!(by_length, [100; 4]);
        }
        assert!(lengths.summed.correlation.unwrap() < -0.5 && lengths.mean.correlation.unwrap().abs() < 0.1);
    }

    #[test]
    fn equal_values_have_an_axis_and_no_correlation() {
        let lengths = lengths(&[score(3, 0.0), score(3, 0.0)]).unwrap().unwrap();
        assert_eq!((lengths.mean.y, lengths.mean.correlation), ((-0.5, 0.5), None));
        assert!(super::lengths(&[]).unwrap().is_none());
    }

    #[test]
    fn outliers_count_at_the_ends() {
        let mut scores: Vec<TraceScore> = (0..1000).map(|at| score(10, f64::from(at) / 1000.0)).collect();
        scores.push(score(10, -1000.0));
        let lengths = lengths(&scores).unwrap().unwrap();
        assert!(lengths.mean.y.0 > -0.1, "{:?}", lengths.mean.y);
        assert_eq!(lengths.mean.counts.concat().iter().sum::<u64>(), 1001);
    }
}
