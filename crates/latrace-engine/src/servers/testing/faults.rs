//! What goes wrong, and when.

use std::collections::HashSet;
use std::sync::Arc;

use latrace_core::random::{draw, unit};

/// What goes wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Status 500.
    Status500,
    /// No response, until the client gives up or the server ends.
    Hang,
    /// The connection is closed without a response.
    Disconnect,
    /// The body ends in its middle, as its length says.
    CutJson,
    /// The connection is closed in the middle of the body.
    CutBody,
    /// Status 404, as for a model that is not served.
    NotFound,
    /// A response without token ids.
    NoTokenIds,
    /// Log-probs after the temperature.
    Processed,
    /// A log-prob is NaN: in JSON of vLLM the word, in that of SGLang null.
    NotANumber,
    /// A log-prob is -9999, as vLLM gives instead of minus infinity.
    Clamped,
    /// Every log-prob is -1, as of a server that computes nothing.
    Constant,
    /// Half of the tokens, as if there were no room for more.
    Shortened,
    /// The sample is one of another prompt.
    OtherPrompt,
    /// The server ends, and refuses connections until [`FakeServer::revive`].
    Die,
}

impl Fault {
    /// Those after which another attempt succeeds.
    pub const PASSING: [Fault; 5] =
        [Fault::Status500, Fault::Hang, Fault::Disconnect, Fault::CutJson, Fault::CutBody];
}

/// The fault of a request, by its number in the order of arrival. Requests for what is not a sample or a
/// score, such as `/health`, are not counted.
pub type Faults = Arc<dyn Fn(u64) -> Option<Fault> + Send + Sync>;

/// No faults.
pub fn faultless() -> Faults {
    Arc::new(|_| None)
}

/// This fault at these requests.
pub fn fault_at(fault: Fault, requests: impl IntoIterator<Item = u64>) -> Faults {
    let requests: HashSet<u64> = requests.into_iter().collect();
    Arc::new(move |request| requests.contains(&request).then_some(fault))
}

/// This fault from a request on.
pub fn fault_from(fault: Fault, first: u64) -> Faults {
    Arc::new(move |request| (request >= first).then_some(fault))
}

/// Each of `faults` equally often, at a random share of the requests.
pub fn random_faults(seed: u64, share: f64, faults: &'static [Fault]) -> Faults {
    Arc::new(move |request| {
        let is_faulty = unit(draw(seed, 2 * request)) < share;
        let which = (unit(draw(seed, 2 * request + 1)) * faults.len() as f64) as usize;
        faults.get(which).copied().filter(|_| is_faulty)
    })
}
