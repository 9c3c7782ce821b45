//! The methods, and the baselines of the shipped recipes, in words.

use super::run::Method;

/// A method in words, for a reader who does not know its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodText {
    /// Its name in recipes.
    pub name: &'static str,
    method: Method,
    /// Its name within a sentence.
    pub short: &'static str,
    /// Its name in full.
    pub long: &'static str,
    /// What it does.
    pub clause: &'static str,
}

const fn text(
    name: &'static str,
    method: Method,
    short: &'static str,
    long: &'static str,
    clause: &'static str,
) -> MethodText {
    MethodText { name, method, short, long, clause }
}

/// The methods first, each under its own name, then baselines that change one setting of a method.
const TEXTS: [MethodText; 16] = [
    text(
        "variational",
        Method::Variational,
        "variational reasoning",
        "variational reasoning",
        "a second model, which sees a hint, writes traces; each is weighted by how natural it is without the hint and by how often right answers follow it",
    ),
    text(
        "sft",
        Method::Sft,
        "SFT",
        "supervised fine-tuning",
        "trains on the traces in the data alone and samples none",
    ),
    text(
        "rft",
        Method::Rft,
        "RFT",
        "rejection-sampling fine-tuning",
        "trains on those of the model’s own samples that are right",
    ),
    text(
        "binary-rl",
        Method::BinaryRl,
        "binary RL",
        "reinforcement learning with binary rewards",
        "rewards the model’s own samples with 1 if they are right and 0 if not",
    ),
    text(
        "grpo",
        Method::Grpo,
        "GRPO",
        "group relative policy optimisation",
        "as binary RL, with a question’s rewards less their mean and divided by their standard deviation",
    ),
    text(
        "maxrl",
        Method::MaxRl,
        "MaxRL",
        "maximum-likelihood reinforcement learning",
        "as binary RL, with a question’s right samples divided by their number",
    ),
    text(
        "verifree",
        Method::Verifree,
        "VeriFree",
        "learning without a verifier",
        "weights the model’s own traces by the likelihood of the reference answer after them",
    ),
    text(
        "self-distillation",
        Method::SelfDistillation,
        "self-distillation",
        "self-distillation under the hint",
        "rewards each token of the model’s own samples by how much likelier it is to a model that sees the hint",
    ),
    text(
        "gold",
        Method::Sft,
        "gold traces",
        "training on gold traces",
        "trains on the task’s own trace of every question: no competing method, but what the best traces would lead to",
    ),
    text(
        "no-hint",
        Method::Variational,
        "no hint",
        "the method without a hint",
        "the traces are the initial model’s own, weighted as in the method",
    ),
    text(
        "uniform",
        Method::Variational,
        "uniform weights",
        "the method with equal weights",
        "all traces of a question weigh the same",
    ),
    text(
        "accuracy-only",
        Method::Variational,
        "accuracy only",
        "the method weighted by accuracy alone",
        "a trace weighs as much as right answers follow it, however unnatural it is without the hint",
    ),
    text(
        "ratio-only",
        Method::Variational,
        "ratio only",
        "the method weighted by the ratio alone",
        "a trace weighs as much as it is natural without the hint, whatever answers follow it",
    ),
    text(
        "best",
        Method::Variational,
        "best trace",
        "the method with the best trace alone",
        "trains on the heaviest trace of each question",
    ),
    text(
        "resample",
        Method::Variational,
        "resampled traces",
        "the method with resampled traces",
        "trains on traces drawn by weight, each with the same loss",
    ),
    text(
        "wrong",
        Method::Variational,
        "wrong hints",
        "the method with wrong hints",
        "the second model sees the hint of another question: a check that hints matter",
    ),
];

/// The words for a method, or a baseline, of this name: those of the name if it is known and means this method, or else
/// the method's own.
pub fn method_text(name: &str, method: Method) -> MethodText {
    let known = TEXTS.iter().find(|text| text.name == name && text.method == method);
    known.copied().unwrap_or_else(|| own_text(method))
}

/// The name of a known method or baseline within a sentence.
pub fn short_name(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|text| text.name == name).map(|text| text.short)
}

fn own_text(method: Method) -> MethodText {
    // The methods come first, so that a baseline's words are never taken for its method's.
    let own = TEXTS.iter().find(|text| text.method == method);
    own.copied().unwrap_or(TEXTS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_words_and_a_name_means_its_own_method_alone() {
        for name in
            ["variational", "sft", "rft", "binary-rl", "grpo", "maxrl", "verifree", "self-distillation"]
        {
            let method: Method = serde_json::from_value(name.into()).unwrap();
            assert_eq!((method_text("x", method).name, method_text("x", method).method), (name, method));
        }
        assert_eq!(method_text("gold", Method::Sft).long, "training on gold traces");
        assert_eq!(method_text("gold", Method::Rft).name, "rft");
        assert_eq!((short_name("binary-rl"), short_name("k8")), (Some("binary RL"), None));
    }
}
