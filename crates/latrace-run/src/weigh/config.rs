//! Settings of weighing: the options of `latrace weigh`, and a recipe's table with the same names.

use latrace_objective::ratio::Kernel;
use latrace_objective::ratio::clipped::DEFAULT_BOUND;
use latrace_objective::selection::PUBLISHED_LENGTH_LIMIT;
use latrace_objective::{AnswerEstimator, Fallback, RatioEstimator, Selection, Weighting};
use serde::{Deserialize, Serialize};

use super::Fallbacks;
use latrace_io::failure::Failure;

/// Settings of weighing. Defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeighConfig {
    /// Estimator of pi(z|x) / q(z|x,y').
    pub ratio: RatioEstimator,
    /// Bound on the clipped ratio's mean log-ratio (nats per token).
    pub clip: f64,
    /// Power a of the ratio's kernel W^a exp(b (1 - W)).
    pub kernel_power: f64,
    /// Decay b of the ratio's kernel.
    pub kernel_decay: f64,
    /// Log-ratio (nats per token; per trace for the full ratio) below which a trace gets weight 0.
    pub min_log_ratio: f64,
    /// log rho (nats) that the best trace of a question must reach for the question to have a usable trace.
    pub min_best: f64,
    /// Estimator of pi(Y|x,z).
    pub answer: AnswerEstimator,
    /// Factors of the weight.
    pub weighting: Weighting,
    /// Which traces become examples.
    pub selection: Selection,
    /// Traces drawn per question by the resampling selections.
    pub draws: usize,
    /// How to handle a question without a usable trace. The geometric likelihood needs the log-probs of its
    /// reference answer; a question without them keeps its original row, as in the published build for rows
    /// with a verifier.
    pub fallback: Fallback,
    /// Traces of this many tokens or more get weight 0.
    pub length_limit: usize,
    /// Seed for resampling.
    pub seed: u64,
    /// Fallbacks of kinds of rows, over `fallback`.
    // Last: TOML has tables after values.
    #[serde(skip_serializing_if = "Fallbacks::is_empty")]
    pub fallbacks: Fallbacks,
}

impl Default for WeighConfig {
    fn default() -> WeighConfig {
        WeighConfig {
            ratio: RatioEstimator::default(),
            clip: DEFAULT_BOUND,
            kernel_power: Kernel::DEFAULT.power,
            kernel_decay: Kernel::DEFAULT.decay,
            min_log_ratio: f64::NEG_INFINITY,
            min_best: f64::NEG_INFINITY,
            answer: AnswerEstimator::default(),
            weighting: Weighting::default(),
            selection: Selection::default(),
            draws: 1,
            fallback: Fallback::default(),
            length_limit: PUBLISHED_LENGTH_LIMIT,
            seed: 0,
            fallbacks: Fallbacks::default(),
        }
    }
}

/// Above every number, a floor would leave nothing; and JSON has one word for all that is not finite.
fn is_floor(floor: f64) -> bool {
    floor.is_finite() || floor == f64::NEG_INFINITY
}

fn is_not_negative(parameter: f64) -> bool {
    parameter.is_finite() && parameter >= 0.0
}

impl WeighConfig {
    /// Validates ranges that the types do not enforce.
    ///
    /// # Errors
    /// Names the setting that is out of range.
    pub fn check(&self) -> Result<(), Failure> {
        let at_least_0 = "a finite number of at least 0";
        let floor = "a finite number, or -inf for none";
        let checks = [
            ("clip", is_not_negative(self.clip), at_least_0, self.clip.to_string()),
            ("min_log_ratio", is_floor(self.min_log_ratio), floor, self.min_log_ratio.to_string()),
            ("min_best", is_floor(self.min_best), floor, self.min_best.to_string()),
            ("kernel_power", is_not_negative(self.kernel_power), at_least_0, self.kernel_power.to_string()),
            ("kernel_decay", is_not_negative(self.kernel_decay), at_least_0, self.kernel_decay.to_string()),
            ("draws", self.draws > 0, "at least 1", self.draws.to_string()),
            ("length_limit", self.length_limit > 0, "at least 1", self.length_limit.to_string()),
        ];
        let wrong = checks.into_iter().find(|(_, holds, ..)| !holds);
        wrong.map_or(Ok(()), |(name, _, expected, got)| {
            Err(Failure::usage(format!("{name}: expected {expected}, got {got}")))
        })
    }

    /// Whether the log-probs of reference answers are needed.
    pub fn reads_references(&self) -> bool {
        let gml = Fallback::GeometricLikelihood;
        self.answer != AnswerEstimator::Accuracy || self.fallback == gml || self.fallbacks.any(gml)
    }

    /// The ratio with its parameters.
    pub(super) fn bounded_ratio(&self) -> RatioEstimator {
        let kernel = Kernel { power: self.kernel_power, decay: self.kernel_decay };
        self.ratio.with_bound(self.clip).with_kernel(kernel)
    }

    /// The ratio of the surrogate L^K: the one used for the weights, unless that is the true one.
    pub(super) fn surrogate_ratio(&self) -> RatioEstimator {
        if self.ratio == RatioEstimator::Full { RatioEstimator::Geometric } else { self.bounded_ratio() }
    }

    /// The answer probability of the surrogate with the true ratio, which shows the bias of the ratio used for
    /// the weights. A per-token mean is not a probability, so its underlying likelihood is used.
    pub(super) fn unbiased_answer(&self) -> AnswerEstimator {
        if self.answer == AnswerEstimator::GeometricLikelihood {
            AnswerEstimator::Likelihood
        } else {
            self.answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_papers_setting() {
        let config: WeighConfig = toml::from_str("").unwrap();
        assert_eq!(config, WeighConfig::default());
        let text = "ratio = \"geometric\"\nclip = 0.2\nkernel_power = 1.0\nkernel_decay = 1.0\nmin_log_ratio = -inf\nmin_best = -inf\nanswer = \"accuracy\"\nweighting = \"rho\"\nselection = \"best\"\ndraws = 1\n\
            fallback = \"original-row\"\nlength_limit = 28000\nseed = 0\n";
        assert_eq!(toml::to_string(&config).unwrap(), text);
    }

    /// A parameter is a setting of its own, and stays whatever the estimator beside it.
    #[test]
    fn a_table_written_out_reads_back_the_same() {
        for (ratio, selection) in RatioEstimator::ALL
            .into_iter()
            .flat_map(|ratio| Selection::ALL.map(|selection| (ratio, selection)))
        {
            let config = WeighConfig { ratio, clip: 0.7, selection, draws: 3, ..WeighConfig::default() };
            let back: WeighConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
            assert_eq!(back, config);
            assert_eq!(back.bounded_ratio(), ratio.with_bound(0.7));
        }
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        let check = |text: &str, expected: &str| {
            let error = toml::from_str::<WeighConfig>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("weight = 1", "unknown field `weight`");
        check("weighting = \"rhos\"", "unknown variant `rhos`, expected one of `rho`, `ratio-only`");
        check("draws = -1", "draws = -1");
        for (config, name) in [
            (WeighConfig { clip: f64::NAN, ..WeighConfig::default() }, "clip"),
            (WeighConfig { draws: 0, ..WeighConfig::default() }, "draws"),
            (WeighConfig { kernel_decay: -1.0, ..WeighConfig::default() }, "kernel_decay"),
            (WeighConfig { min_best: f64::NAN, ..WeighConfig::default() }, "min_best"),
            (WeighConfig { length_limit: 0, ..WeighConfig::default() }, "length_limit"),
        ] {
            let error = config.check().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name}: expected")), "{error}");
        }
        WeighConfig::default().check().unwrap();
    }

    #[test]
    fn a_mean_per_token_is_no_probability_of_an_answer() {
        let unbiased = |answer| WeighConfig { answer, ..WeighConfig::default() }.unbiased_answer();
        assert_eq!(unbiased(AnswerEstimator::GeometricLikelihood), AnswerEstimator::Likelihood);
        assert_eq!(unbiased(AnswerEstimator::Likelihood), AnswerEstimator::Likelihood);
        assert_eq!(unbiased(AnswerEstimator::Accuracy), AnswerEstimator::Accuracy);
    }
}
