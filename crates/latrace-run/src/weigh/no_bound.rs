//! Why there is no bound.

use std::fmt;

use super::drawn::{Distribution, Drawn};

/// A reason why no number computed from the samples is a bound on log P(Y|x) for every question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoBound {
    /// There are no traces.
    NoTraces,
    /// For some questions, log pi of the reference answer after a trace is missing.
    WithoutReference {
        /// Those questions.
        questions: usize,
        /// All questions.
        of: usize,
    },
    /// For some questions, it is not stated which sampled answers are the reference answer.
    WithoutMarks {
        /// Those questions.
        questions: usize,
        /// All questions.
        of: usize,
    },
    /// It is not stated how the traces were drawn.
    TracesNotStated,
    /// Traces were not drawn from the posterior's own distribution.
    Traces(Distribution),
    /// Answers were not drawn from the reasoner's own distribution.
    Answers(Distribution),
}

impl NoBound {
    /// The reasons that lie in how samples were drawn. Answers of which it is not stated count as drawn from
    /// the reasoner's own distribution.
    pub(super) fn of_drawn(drawn: &Drawn) -> Vec<NoBound> {
        let traces = match drawn.traces {
            None => Some(NoBound::TracesNotStated),
            Some(of_traces) => (!of_traces.is_plain()).then_some(NoBound::Traces(of_traces)),
        };
        let answers = drawn.answers.filter(|of_answers| !of_answers.is_plain()).map(NoBound::Answers);
        traces.into_iter().chain(answers).collect()
    }
}

impl fmt::Display for NoBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoBound::NoTraces => write!(f, "there are no traces"),
            NoBound::WithoutReference { questions, of } => {
                write!(f, "{questions} of {of} questions have no log-probs of a reference answer")
            }
            NoBound::WithoutMarks { questions, of } => write!(
                f,
                "the verdicts of {questions} of {of} questions do not state which answers are the reference \
                 answer (`is_reference`)"
            ),
            NoBound::TracesNotStated => {
                write!(f, "the traces do not state how they were sampled (`sampling`)")
            }
            NoBound::Traces(distribution) => write!(f, "the traces were {distribution}"),
            NoBound::Answers(distribution) => write!(f, "the answers were {distribution}"),
        }
    }
}

/// All reasons, as one sentence without its end.
pub fn in_words(reasons: &[NoBound]) -> String {
    reasons.iter().map(NoBound::to_string).collect::<Vec<_>>().join("; ")
}
