//! The stages of a run. Their names and titles are defined only here.

use std::fmt;

/// A stage of a run, in order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The model that pi_theta0 and q start from.
    Model,
    /// Questions as token ids.
    Questions,
    /// The same with another question's hint each.
    WrongQuestions,
    /// Evaluation of the model that the run starts from.
    BaseEvaluation,
    /// Training of pi_theta0.
    Initial,
    /// Evaluation of pi_theta0.
    InitialEvaluation,
    /// Evaluation of pi_theta0 on training questions that have a trace in the data.
    InitialTraced,
    /// Evaluation of pi_theta0 on training questions for which traces are sampled.
    InitialSampled,
    /// What the next stage holds, with the log-probs of a sampler that does not agree with the scorer to the bit.
    PosteriorTracesDrawn,
    /// Traces z ~ pi(z|x), from which q learns.
    PosteriorTraces,
    /// log pi of the reference answer after each of them, for a likelihood estimator.
    PosteriorScores,
    /// Answers after each of them.
    PosteriorAnswers,
    /// Verdicts on these answers.
    PosteriorVerdicts,
    /// w~ of each of these traces.
    PosteriorWeights,
    /// q's training examples.
    PosteriorDataset,
    /// Training of q.
    Posterior,
    /// What the next stage holds, with the log-probs of a sampler that does not agree with the scorer to the bit.
    RefinementTracesDrawn,
    /// Traces z ~ q(z|x,y'), from which q is refined.
    RefinementTraces,
    /// log pi of each of them, and of the reference answer after it.
    RefinementScores,
    /// Their advantages.
    RefinementDataset,
    /// Training of q on them.
    Refinement,
    /// What the next stage holds, with the log-probs of a sampler that does not agree with the scorer to the bit.
    TracesOfPosteriorDrawn,
    /// q's part of a mixture's traces.
    TracesOfPosterior,
    /// pi's part of a mixture's traces.
    TracesOfReasoner,
    /// log q of pi's traces: its part of a mixture, or what it is distilled on.
    ScoresOfPosterior,
    /// log q of the same traces under another question's hint.
    ScoresOfWrongHint,
    /// What the next stage holds, with the log-probs of a sampler that does not agree with the scorer to the bit.
    TracesDrawn,
    /// Traces z ~ q(z|x,y').
    Traces,
    /// log pi_theta0 of each trace.
    Scores,
    /// Answers y ~ pi_theta0(y|x,z).
    Answers,
    /// Verdicts on the answers.
    Verdicts,
    /// rho~ of each trace, and the bounds.
    Weights,
    /// Training examples.
    Dataset,
    /// Training of pi_theta.
    Final,
    /// Evaluation of pi_theta.
    FinalEvaluation,
}

/// The folder of evaluations, within that of a method.
const EVALUATIONS: &str = "10-evaluation";

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 35] = [
        Stage::Model,
        Stage::Questions,
        Stage::WrongQuestions,
        Stage::BaseEvaluation,
        Stage::Initial,
        Stage::InitialEvaluation,
        Stage::InitialTraced,
        Stage::InitialSampled,
        Stage::PosteriorTracesDrawn,
        Stage::PosteriorTraces,
        Stage::PosteriorScores,
        Stage::PosteriorAnswers,
        Stage::PosteriorVerdicts,
        Stage::PosteriorWeights,
        Stage::PosteriorDataset,
        Stage::Posterior,
        Stage::RefinementTracesDrawn,
        Stage::RefinementTraces,
        Stage::RefinementScores,
        Stage::RefinementDataset,
        Stage::Refinement,
        Stage::TracesOfPosteriorDrawn,
        Stage::TracesOfPosterior,
        Stage::TracesOfReasoner,
        Stage::ScoresOfPosterior,
        Stage::ScoresOfWrongHint,
        Stage::TracesDrawn,
        Stage::Traces,
        Stage::Scores,
        Stage::Answers,
        Stage::Verdicts,
        Stage::Weights,
        Stage::Dataset,
        Stage::Final,
        Stage::FinalEvaluation,
    ];

    /// The stage's name, which is its folder within that of its method and round.
    pub fn name(self) -> &'static str {
        self.name_and_title().0
    }

    /// The name without its number: `traces`.
    pub fn noun(self) -> &'static str {
        self.name().split_once('-').map_or(self.name(), |(_, noun)| noun)
    }

    /// The stage's title.
    pub fn title(self) -> &'static str {
        self.name_and_title().1
    }

    // A match, not a table: a stage without a name does not compile.
    fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Stage::Model => ("00-model", "Model to start from"),
            Stage::Questions => ("00-questions", "Questions"),
            Stage::WrongQuestions => ("00-questions-wrong", "Questions with wrong hints"),
            Stage::BaseEvaluation => ("10-evaluation/base", "Evaluation of the model to start from"),
            Stage::Initial => ("01-initial", "Training of the initial model"),
            Stage::InitialEvaluation => ("10-evaluation/initial", "Evaluation of the initial model"),
            Stage::InitialTraced => ("10-evaluation/initial-traced", "Initial model on traced questions"),
            Stage::InitialSampled => ("10-evaluation/initial-sampled", "Initial model before sampling"),
            Stage::PosteriorTracesDrawn => {
                ("02-posterior-traces-drawn", "Traces for the posterior, as drawn")
            }
            Stage::PosteriorTraces => ("02-posterior-traces", "Traces for the posterior"),
            Stage::PosteriorScores => ("02-posterior-scores", "Scores for the posterior"),
            Stage::PosteriorAnswers => ("02-posterior-answers", "Answers for the posterior"),
            Stage::PosteriorVerdicts => ("02-posterior-verdicts", "Verdicts for the posterior"),
            Stage::PosteriorWeights => ("02-posterior-weights", "Weights for the posterior"),
            Stage::PosteriorDataset => ("02-posterior-dataset", "Examples for the posterior"),
            Stage::Posterior => ("02-posterior", "Training of the posterior"),
            Stage::RefinementTracesDrawn => {
                ("02-refined-traces-drawn", "Traces of the posterior to be refined, as drawn")
            }
            Stage::RefinementTraces => ("02-refined-traces", "Traces of the posterior to be refined"),
            Stage::RefinementScores => ("02-refined-scores", "Their scores under the model to be improved"),
            Stage::RefinementDataset => ("02-refined-dataset", "Their advantages"),
            Stage::Refinement => ("02-refined-posterior", "Refinement of the posterior"),
            Stage::TracesOfPosteriorDrawn => {
                ("03-traces-posterior-drawn", "Traces of the posterior, as drawn")
            }
            Stage::TracesOfPosterior => ("03-traces-posterior", "Traces of the posterior"),
            Stage::TracesOfReasoner => ("03-traces-reasoner", "Traces of the model to be improved"),
            Stage::ScoresOfPosterior => ("03-scores-posterior", "Their scores under the posterior"),
            Stage::ScoresOfWrongHint => ("03-scores-wrong-hint", "Their scores under wrong hints"),
            Stage::TracesDrawn => ("03-traces-drawn", "Traces, as drawn"),
            Stage::Traces => ("03-traces", "Traces"),
            Stage::Scores => ("04-scores", "Scores"),
            Stage::Answers => ("05-answers", "Answers"),
            Stage::Verdicts => ("06-verdicts", "Verdicts"),
            Stage::Weights => ("07-weights", "Weights"),
            Stage::Dataset => ("08-dataset", "Examples"),
            Stage::Final => ("09-final", "Training of the final model"),
            Stage::FinalEvaluation => ("10-evaluation/final", "Evaluation of the final model"),
        }
    }

    /// The stage before that draws its traces, if these are scored anew: see [`super::RescoringSettings`].
    pub(super) fn drawn(self) -> Option<Stage> {
        match self {
            Stage::PosteriorTraces => Some(Stage::PosteriorTracesDrawn),
            Stage::RefinementTraces => Some(Stage::RefinementTracesDrawn),
            Stage::TracesOfPosterior => Some(Stage::TracesOfPosteriorDrawn),
            Stage::Traces => Some(Stage::TracesDrawn),
            _ => None,
        }
    }

    /// The name of the model that an evaluation on held-out questions measures: the last part of the folder's
    /// name. Evaluations on training questions are no results, but diagnostics.
    pub fn evaluated_model(self) -> Option<&'static str> {
        match self {
            Stage::BaseEvaluation | Stage::InitialEvaluation | Stage::FinalEvaluation => {
                self.name().strip_prefix(EVALUATIONS)?.strip_prefix('/')
            }
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_tell_stages_apart() {
        let names: BTreeSet<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        assert_eq!(names.len(), Stage::ALL.len());
    }

    #[test]
    fn evaluations_say_which_model_they_measure() {
        let models: Vec<&str> = Stage::ALL.iter().filter_map(|stage| stage.evaluated_model()).collect();
        assert_eq!(models, ["base", "initial", "final"]);
    }
}
