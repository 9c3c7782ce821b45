//! Options that take a value of a recipe setting, spelt as in recipes.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value and what it means.
pub type OptionValue = (&'static str, &'static str);

/// Training methods of the final model whose examples are built from weights or verdicts: all but self-distillation,
/// which a run alone has.
pub const METHODS: &[OptionValue] = &[
    ("variational", "Weighted traces of the posterior: (6)"),
    ("sft", "Only the rows' own traces"),
    ("rft", "Correct samples of pi_theta0: (10)"),
    ("binary-rl", "Samples of pi_theta0, rewarded by 1 or 0: (11)"),
    ("grpo", "Samples of pi_theta0, rewards normalised within a question: (12)"),
    ("maxrl", "Samples of pi_theta0, correct ones divided by their number, less the mean (arXiv 2602.02710)"),
    ("verifree", "Traces of pi_theta0, weighted by the likelihood of the reference answer: (26)"),
];

/// Which verified answers of a chosen trace become examples.
pub const ANSWERS_OF_TRACE: &[OptionValue] = &[
    ("all", "All of them, averaged, as in the answer gradient"),
    ("one", "One, chosen at random with the seed"),
    ("first", "The first, as in the paper's release"),
];

/// How identical sequences of a question are handled.
pub const DUPLICATES: &[OptionValue] = &[("add", "Their weights add up"), ("once", "They count once")];

/// Engines that sample or score.
pub const ENGINES: &[OptionValue] = &[
    ("cpu", "The built-in engine"),
    ("servers", "vLLM or SGLang over HTTP, started here or given by URL"),
    ("torchrun", "PyTorch; scores, and does not sample"),
];

/// Types in which the built-in engine computes products.
pub const COMPUTE_TYPES: &[OptionValue] = &[
    ("f32", "The same bits on every machine"),
    ("bf16", "Faster where the processor multiplies it: AVX-512 BF16, AMX"),
    ("auto", "bf16 there, otherwise f32"),
];

/// Splits of questions.
pub const SPLITS: &[OptionValue] = &[
    ("train", "Training split"),
    ("validation", "Validation split, for choosing settings"),
    ("test", "Test split, measured once at the end"),
];

/// Which hint a training question gets.
pub const HINTS: &[OptionValue] = &[
    ("own", "Its own, whole"),
    ("partial", "The first words of its own, so many that they are the given share of them"),
    ("noisy", "Its own or, with the given probability, another question's"),
    ("wrong", "Another question's"),
];

/// What of the answer column is the reference answer.
pub const ANSWER_RULES: &[OptionValue] = &[
    ("as-is", "All of it"),
    ("without-units", "What comes before a unit in round brackets at its end: 9 of `9 (apples)`"),
    ("after-hashes", "What comes after the last `####`, as in GSM8K"),
];

/// How a file's rows become questions.
pub const FORMATS: &[OptionValue] = &[
    (
        "rows",
        "`question` with optional further fields; or a ready-made `prompt` with optional `posterior_prompt` and \
         `response` (a marked thought, then the answer); or `messages`, a chat whose last message is such a \
         response",
    ),
    ("gsm8k", "GSM8K: `answer` is a worked solution that ends in `#### NUMBER`"),
    (
        "conversations",
        "`system` and `conversations` (`from`, `value`), the last of which is a marked thought, then the answer \
         (Bespoke-Stratos)",
    ),
];

/// Trainers to export to.
pub const TRAINERS: &[OptionValue] = &[("trl", "Hugging Face's TRL"), ("llama-factory", "LLaMA-Factory")];

/// The parser of an option that takes one of `choices`.
pub fn one_of<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    choices: &'static [OptionValue],
) -> impl TypedValueParser<Value = T> {
    let values = choices.iter().map(|&(name, about)| PossibleValue::new(name).help(about));
    // clap refuses other names, and lists these in the message. That serde knows each of them is tested.
    PossibleValuesParser::new(values)
        .try_map(|name| serde_json::from_value::<T>(Value::String(name)).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use latrace_core::Split;
    use latrace_objective::AnswerChoice;
    use latrace_questions::hints::HintKind;
    use latrace_questions::source::{AnswerRule, Format};
    use latrace_run::export::Target;
    use latrace_run::recipe::run::{ComputeType, Duplicates, Method};

    #[track_caller]
    fn check<T: DeserializeOwned>(choices: &[OptionValue]) {
        for (name, _) in choices {
            serde_json::from_value::<T>(Value::String((*name).to_owned())).unwrap();
        }
    }

    #[test]
    fn every_value_is_one_of_a_recipe() {
        check::<Method>(METHODS);
        check::<AnswerChoice>(ANSWERS_OF_TRACE);
        check::<Duplicates>(DUPLICATES);
        check::<Split>(SPLITS);
        check::<Format>(FORMATS);
        check::<AnswerRule>(ANSWER_RULES);
        check::<HintKind>(HINTS);
        check::<Target>(TRAINERS);
        check::<ComputeType>(COMPUTE_TYPES);
    }
}
