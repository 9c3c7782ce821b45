//! The boundary between the method and the engines.
//!
//! Token ids, numbers and stop texts cross it; recipes, prompt texts and stage names never do. Memory and
//! speed are settings of an engine, never of a request, so that no result can depend on them.
//!
//! An engine implements [`Generate::generate_unchecked`] and [`Score::score_unchecked`]; its users call
//! `generate` and `score` of the trait objects, which check what goes in and what comes out, so that a new
//! engine cannot forget to.

mod checked;
mod completion;
mod error;
mod fit;
mod identity;
mod request;
mod stop_texts;

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use latrace_core::StopReason;
pub use latrace_lm::ScoreRow;

pub use crate::model_shape::ModelShape;
pub use completion::{Completion, LOGP_ROUNDING};
pub use error::Error;
pub use fit::{Fit, FitJob};
pub use identity::{BUILT_IN, EngineRole, Identity, ServerNote};
pub use request::Request;
pub use stop_texts::StopTexts;

use crate::text_codec::TextCodec;
use checked::{CheckedGenerate, CheckedScore};

/// A factory of generators, scorers and trainers. Runs use it as `&dyn Engine`; only [`Engine::identity`]
/// tells which engine it is.
pub trait Engine: Debug + Sync {
    /// Everything besides the request that the results of `role` depend on, for the keys of stages.
    fn identity(&self, role: EngineRole) -> Identity;

    /// A generator with the model in a folder.
    ///
    /// # Errors
    /// A folder without a model that the engine can use.
    fn generator(&self, model: &Path) -> Result<Box<dyn Generate>>;

    /// A scorer with the model in a folder.
    ///
    /// # Errors
    /// As [`Engine::generator`].
    fn scorer(&self, model: &Path) -> Result<Box<dyn Score>>;

    /// What trains.
    ///
    /// # Errors
    /// An engine that cannot train.
    fn trainer(&self) -> Result<Box<dyn Fit>>;

    /// Checks that what the engine starts for `role` is installed, as far as that shows before it is started.
    ///
    /// # Errors
    /// Names what is missing, with what to install.
    fn check_installed(&self, role: EngineRole) -> Result<()> {
        let _ = role;
        Ok(())
    }

    /// What the servers that have done the engine's work since the last call say of themselves.
    fn take_server_notes(&self) -> Vec<ServerNote> {
        Vec::new()
    }
}

/// Draws samples with one model.
pub trait Generate {
    /// The model's vocabulary, positions and end tokens.
    fn shape(&self) -> &ModelShape;

    /// The model's tokenizer, without which no request may have stop texts.
    fn text(&self) -> Option<Arc<TextCodec>>;

    /// Samples all requests of the client.
    ///
    /// A sample is a function of its prompt, seed, parameters and stops alone. Requests are numbered from 0
    /// in the order in which the client gives them; an engine takes as many as keep it busy, and hands each
    /// completion over as soon as it is finished. An error that the client returns ends the work and is
    /// returned unchanged.
    ///
    /// # Errors
    /// The client's; requests that do not fit the engine's memory; what the engine cannot do.
    fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()>;

    /// Further costs of the work so far, in words, for the log.
    fn remarks(&self) -> String {
        String::new()
    }
}

impl dyn Generate + '_ {
    /// As [`Generate::generate_unchecked`], with requests checked before and completions after the engine: a
    /// completion that cannot be right ends the work, as does one that never comes.
    ///
    /// # Errors
    /// As [`Generate::generate_unchecked`], and [`Error`].
    pub fn generate(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
        let mut checked = CheckedGenerate::new(self, client);
        self.generate_unchecked(&mut checked)?;
        checked.end()
    }
}

/// Where requests come from and completions go.
pub trait GenerateClient {
    /// The next request; none when there are no more.
    ///
    /// # Errors
    /// A source that cannot be read.
    fn next_request(&mut self) -> Result<Option<Request>>;

    /// A sample has grown: `ids` are all of its tokens so far, the last `new` of them for the first time.
    /// Breaking ends the sample here, as [`latrace_core::StopReason::Interrupted`]. Engines that cannot
    /// stream call this once, before [`GenerateClient::finished`].
    fn grown(&mut self, request: usize, sample: usize, ids: &[u32], new: usize) -> ControlFlow<()> {
        let _ = (request, sample, ids, new);
        ControlFlow::Continue(())
    }

    /// A sample is complete: `sample` is its place among the request's seeds. Completions come in any order.
    ///
    /// # Errors
    /// Whatever should end the work.
    fn finished(&mut self, request: usize, sample: usize, completion: Completion) -> Result<()>;

    /// Display name of a request, for errors.
    fn name(&self, request: usize) -> String {
        request.to_string()
    }
}

/// Hands over a sample of an engine that does not stream. A sample that has ended by itself cannot have been
/// interrupted after its end; one that was cut at its limit could have been longer.
pub(crate) fn hand_over_whole(
    client: &mut dyn GenerateClient,
    request: usize,
    sample: usize,
    mut completion: Completion,
) -> Result<()> {
    let flow = client.grown(request, sample, &completion.ids, completion.ids.len());
    if flow.is_break() && completion.stop == StopReason::MaxTokens {
        completion.stop = StopReason::Interrupted;
    }
    client.finished(request, sample, completion)
}

/// Scores with one model.
pub trait Score {
    /// The model's vocabulary, positions and end tokens.
    fn shape(&self) -> &ModelShape;

    /// Computes log p (nats, temperature 1, no truncation) of each response token after its prompt, for every
    /// row that the client has. A row's scores are a function of the row alone.
    ///
    /// # Errors
    /// The client's, unchanged; what the engine cannot do.
    fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()>;
}

impl dyn Score + '_ {
    /// As [`Score::score_unchecked`], with rows checked before and scores after the engine.
    ///
    /// # Errors
    /// As [`Score::score_unchecked`], and [`Error`].
    pub fn score(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
        let mut checked = CheckedScore::new(self.shape().clone(), client);
        self.score_unchecked(&mut checked)?;
        checked.end()
    }
}

/// Where rows to score come from and log-probs go.
pub trait ScoreClient {
    /// The next row; none when there are no more.
    ///
    /// # Errors
    /// A source that cannot be read.
    fn next_row(&mut self) -> Result<Option<ScoreRow>>;

    /// Log-probs of a row's response tokens (nats). Rows are numbered from 0 as they were given, and come in
    /// any order.
    ///
    /// # Errors
    /// Whatever should end the work.
    fn scored(&mut self, row: usize, logp: Vec<f32>) -> Result<()>;

    /// Display name of a row, for errors.
    fn name(&self, row: usize) -> String {
        row.to_string()
    }
}
