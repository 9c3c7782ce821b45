//! What the stages of a recipe share: prompts, markers, the judge, and the settings that each stage's result
//! depends on.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Markers, PromptTemplate};
use latrace_engine::TrainConfig;
use serde_json::{Value, json};

use crate::recipe::run::RunRecipe;
use crate::stages::model;
use crate::stages::questions::Encoding;
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::failure::Failure;
use latrace_questions::judge::Judge;

/// A recipe with what is made of it once.
pub struct Kit<'a> {
    /// The recipe.
    pub recipe: &'a RunRecipe,
    /// How a thought is marked.
    pub markers: Markers,
    reasoner: (String, PromptTemplate),
    posterior: (String, PromptTemplate),
    judge: Judge,
    codec: OnceCell<TraceCodec>,
}

impl<'a> Kit<'a> {
    /// Compiles the recipe's templates.
    ///
    /// # Errors
    /// Markers or templates that do not exist or do not compile.
    pub fn new(recipe: &'a RunRecipe) -> Result<Kit<'a>> {
        let prompts = &recipe.prompts;
        let markers = Markers::named(&prompts.markers)
            .map_err(|error| Failure::usage(format!("prompts.markers: {error}")))?;
        Ok(Kit {
            recipe,
            markers,
            reasoner: template("prompts.reasoner", &prompts.reasoner)?,
            posterior: template("prompts.posterior", &prompts.posterior)?,
            judge: Judge::new(recipe.verdicts.time_limit),
            codec: OnceCell::new(),
        })
    }

    /// The tokenizer and the markers; those of the first call, since all models of a run share their
    /// tokenizer.
    pub fn codec(&self, model: &Path) -> Result<&TraceCodec> {
        if let Some(codec) = self.codec.get() {
            return Ok(codec);
        }
        let codec = TraceCodec::open(model, self.markers.clone())?;
        Ok(self.codec.get_or_init(|| codec))
    }

    /// What turns questions into ids.
    pub fn encoding<'k>(&'k self, codec: &'k TraceCodec) -> Encoding<'k> {
        Encoding { codec, markers: &self.markers, reasoner: &self.reasoner.1, posterior: &self.posterior.1 }
    }

    /// The judge of answers.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    pub(super) fn model_settings(&self) -> Result<Value> {
        Ok(
            json!({"from": model::settings(&self.recipe.model, &self.recipe.questions)?, "seed": self.recipe.seed, "markers": self.markers}),
        )
    }

    pub(super) fn question_settings(&self) -> Result<Value> {
        let texts =
            json!({"markers": self.markers, "reasoner": self.reasoner.0, "posterior": self.posterior.0});
        Ok(
            json!({"questions": self.recipe.questions.fingerprint()?, "prompts": texts, "part_questions": self.recipe.engine.part_questions}),
        )
    }

    /// Without what changes memory and time alone.
    pub(super) fn training_settings(&self, config: &TrainConfig) -> Value {
        json!(TrainConfig {
            checkpoint_every: 0,
            tokens_per_micro_batch: 1,
            recompute: false,
            ..config.clone()
        })
    }

    pub(super) fn trace_settings(&self) -> Value {
        let traces = &self.recipe.traces;
        json!({"drawing": traces.drawing, "from": self.recipe.proposal(), "questions": traces.questions, "seed": self.recipe.seed})
    }

    pub(super) fn score_settings(&self) -> Value {
        json!({"references": self.recipe.reads_references()})
    }

    pub(super) fn answer_settings(&self) -> Value {
        json!({"drawing": self.recipe.answers, "seed": self.recipe.seed})
    }

    pub(super) fn verdict_settings(&self) -> Value {
        json!(self.recipe.verdicts)
    }

    pub(super) fn weight_settings(&self) -> Value {
        json!(self.recipe.weights)
    }

    pub(super) fn dataset_settings(&self) -> Value {
        json!({"method": self.recipe.method, "dataset": self.recipe.dataset, "fallback": self.recipe.weights.fallback, "seed": self.recipe.seed})
    }

    pub(super) fn evaluation_settings(&self) -> Value {
        json!({"evaluation": self.recipe.evaluation, "verdicts": self.recipe.verdicts, "seed": self.recipe.seed})
    }
}

/// A built-in template, or that of a file, with its source.
///
/// # Errors
/// A name that is neither; a source that does not compile.
pub fn template(setting: &str, name: &str) -> Result<(String, PromptTemplate)> {
    let source = match PromptTemplate::built_in(name) {
        Some(source) => source.to_owned(),
        None if Path::new(name).is_file() => {
            fs::read_to_string(name).with_context(|| format!("cannot read {name}"))?
        }
        None => {
            let message = format!("{setting}: \"{name}\" is neither a built-in template nor a file");
            return Err(Failure::usage(message)
                .hint(format!("built in are {}", PromptTemplate::names()))
                .into());
        }
    };
    let compiled =
        PromptTemplate::new(&source).map_err(|error| Failure::usage(format!("{setting}: {error}")))?;
    Ok((source, compiled))
}
