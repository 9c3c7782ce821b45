//! What the types of a recipe's settings leave open.

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_objective::Weighting;
use latrace_questions::hints::HintKind;

use super::adapters;
use super::run::{BaseEvaluation, Contrast, RunRecipe, StartFrom};

impl RunRecipe {
    /// Checks what the types of the settings leave open.
    pub(super) fn check(&self) -> Result<()> {
        self.check_trainings()?;
        adapters::check(self)?;
        self.check_samplings()?;
        self.questions.check()?;
        self.prompts.markers()?;
        self.weights.check().map_err(|failure| failure.preceded_by("weights."))?;
        self.check_counts()?;
        self.check_starts()?;
        self.posterior.refine.check()?;
        self.check_contrast()?;
        self.check_signs()?;
        self.dataset.check()?;
        self.verifier.check().or_else(|error| usage(format!("verifier.{error}")))?;
        self.check_names()?;
        self.check_skipped()
    }

    fn check_trainings(&self) -> Result<()> {
        let trainings = [
            ("initial", &self.initial.config),
            ("posterior", &self.posterior.config),
            ("posterior.refine", &self.posterior.refine.config),
            ("final", &self.r#final.config),
        ];
        trainings.into_iter().try_for_each(|(name, config)| {
            config.validate().map_err(|error| Failure::usage(format!("{name}.{error}")).into())
        })
    }

    fn check_starts(&self) -> Result<()> {
        if !self.initial.train && self.model.folder.is_empty() {
            return usage(
                "initial.train: a random model must be trained; model.folder names another".to_owned(),
            );
        }
        if self.evaluation.base != BaseEvaluation::None && self.model.folder.is_empty() {
            return usage(
                "evaluation.base: a random model has nothing to measure: expected none, or a model.folder"
                    .to_owned(),
            );
        }
        if !self.posterior.is_trained() && self.posterior.start == Some(StartFrom::Previous) {
            return usage(
                "posterior.start: a posterior that is not trained has no last round: expected base or initial, or \
                 nothing for the reasoner to be improved"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Under the same hints twice, every advantage would be 0.
    fn check_contrast(&self) -> Result<()> {
        if self.distillation.contrast == Contrast::None || self.questions.hint != HintKind::Wrong {
            return Ok(());
        }
        usage(
            "distillation.contrast: wrong hints have no contrast with wrong hints (questions.hint)"
                .to_owned(),
        )
    }

    /// Leave-one-out weights are signed, and under a negative weight the negative log-likelihood has no lower bound.
    fn check_signs(&self) -> Result<()> {
        if self.weights.weighting != Weighting::LeaveOneOut {
            return Ok(());
        }
        let message = "weights.weighting: \"leave-one-out\" weights may be negative, and a likelihood can be made \
                       small without end: `latrace weigh` computes them, a run does not train on them";
        usage(message.to_owned())
    }

    fn check_samplings(&self) -> Result<()> {
        self.traces.sampling.check("traces")?;
        self.traces.check_mixture()?;
        self.answers.check("answers")?;
        self.evaluation.sampling.check("evaluation")
    }

    fn check_counts(&self) -> Result<()> {
        at_least_one("rounds", self.rounds)?;
        if self.rounds > MOST_ROUNDS {
            return usage(format!("rounds: expected at most {MOST_ROUNDS}, got {}", self.rounds));
        }
        self.engine.check()?;
        self.servers.validate().or_else(|error| usage(error.to_string()))?;
        self.torchrun.validate()
    }

    /// A baseline's name is that of its folder, and stands beside the run's own models.
    fn check_names(&self) -> Result<()> {
        let is_plain = |name: &String| {
            let allowed = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        for name in self.baselines.keys() {
            if OWN_MODELS.contains(&name.as_str()) {
                return usage(format!(
                    "baselines.{name}: \"{name}\" is a model of the run's own: choose another name"
                ));
            }
            if !is_plain(name) {
                return usage(format!(
                    "baselines.\"{name}\": expected a name of letters, digits, hyphens, underscores and dots, which \
                     does not begin with a dot"
                ));
            }
        }
        Ok(())
    }

    /// A misspelt name would run the baseline that was to be skipped.
    fn check_skipped(&self) -> Result<()> {
        let unknown = self.skip.iter().find(|&name| !self.baselines.contains_key(name));
        let refused = |name| usage(format!("skip: the recipe has no baseline \"{name}\""));
        unknown.map_or(Ok(()), refused)
    }
}

/// More rounds than anyone has done: a slip of the keyboard would plan for hours.
const MOST_ROUNDS: u64 = 1000;

/// Names of a run's own models in tables and summaries.
const OWN_MODELS: [&str; 4] = ["base", "initial", "posterior", "final"];

pub(super) fn at_least_one(name: &str, number: u64) -> Result<()> {
    if number > 0 { Ok(()) } else { usage(format!("{name}: expected at least 1, got 0")) }
}

pub(super) fn usage(message: String) -> Result<()> {
    Err(Failure::usage(message).into())
}
