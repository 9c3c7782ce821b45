//! Training objectives as weights on sequences, section 6. The list is [`Objective::ALL`].
//!
//! Each file gives `weights` (one number per trace and per answer of a group) and `question_weight`, the
//! factor on a question's forward-KL gradient as a function of accuracy p. "1" means 1 for p > 0: without a
//! correct trace there is no gradient. For the objectives of the posterior the factor is that of the
//! question's bound. One file weighs tokens instead of sequences: [`self_distillation`].

use crate::Weighting;
use crate::error::Result;
use crate::names::named;

pub mod binary_reward;
pub mod debiased_reward;
pub mod elbo_single;
pub mod format_reward;
pub mod forward_kl;
mod group;
pub mod grpo;
pub mod iwae_phi;
pub mod maxrl;
pub mod multi_trace;
pub mod posterior_behaviour;
pub mod reverse_kl;
pub mod rft;
pub mod self_distillation;
pub mod sft;
pub mod verifree;

pub use format_reward::Rewards;
pub use group::{Group, SequenceWeights};

/// What a model is trained to do. See each variant's module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// [`sft`]: imitate the data set.
    Sft,
    /// [`forward_kl`]: (9), the posterior.
    ForwardKl,
    /// [`multi_trace`]: (6), the reasoner.
    MultiTrace(Weighting),
    /// [`elbo_single`]: (27), the posterior.
    ElboSingle,
    /// [`iwae_phi`]: (15), the posterior.
    IwaePhi,
    /// [`reverse_kl`]: (34), the posterior.
    ReverseKl,
    /// [`rft`]: (10).
    Rft,
    /// [`binary_reward`]: (11).
    BinaryReward,
    /// [`grpo`]: (12).
    Grpo,
    /// [`maxrl`]: arXiv 2602.02710.
    MaxRl,
    /// [`format_reward`]: (21).
    FormatReward(Rewards),
    /// [`debiased_reward`]: (24).
    DebiasedReward(Rewards),
    /// [`verifree`]: (26).
    VeriFree,
    /// [`posterior_behaviour`]: (30).
    PosteriorBehaviour,
}

/// Who draws the traces an objective assumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceOrigin {
    /// The data set.
    Dataset,
    /// pi (or, for `rft`, a fixed earlier pi).
    Reasoner,
    /// q.
    Posterior,
}

/// Which model the weights train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// pi_theta.
    Reasoner,
    /// q_phi.
    Posterior,
    /// Either (`sft`).
    Either,
}

named!(Objective, "objective", {
    Sft = "sft",
    ForwardKl = "forward-kl",
    MultiTrace(Weighting::Rho) = "multi-trace",
    ElboSingle = "elbo-single",
    IwaePhi = "iwae-phi",
    ReverseKl = "reverse-kl",
    Rft = "rft",
    BinaryReward = "binary-reward",
    Grpo = "grpo",
    MaxRl = "maxrl",
    FormatReward(Rewards::DEFAULT) = "format-reward",
    DebiasedReward(Rewards::DEFAULT) = "debiased-reward",
    VeriFree = "verifree",
    PosteriorBehaviour = "posterior-behaviour",
});

impl Objective {
    /// Weights on the sequences of one question's group.
    ///
    /// # Shapes
    /// See [`Group`] and [`SequenceWeights`]; each module says which statistics it reads.
    ///
    /// # Errors
    /// A statistic it reads is missing.
    pub fn weights(&self, group: &Group<'_>) -> Result<SequenceWeights> {
        match *self {
            Self::Sft => sft::weights(group),
            Self::ForwardKl => forward_kl::weights(group),
            Self::MultiTrace(weighting) => multi_trace::weights(group, weighting),
            Self::ElboSingle => elbo_single::weights(group),
            Self::IwaePhi => iwae_phi::weights(group),
            Self::ReverseKl => reverse_kl::weights(group),
            Self::Rft => rft::weights(group),
            Self::BinaryReward => binary_reward::weights(group),
            Self::Grpo => grpo::weights(group),
            Self::MaxRl => maxrl::weights(group),
            Self::FormatReward(rewards) => format_reward::weights(group, rewards),
            Self::DebiasedReward(rewards) => debiased_reward::weights(group, rewards),
            Self::VeriFree => verifree::weights(group),
            Self::PosteriorBehaviour => posterior_behaviour::weights(group),
        }
    }

    /// Factor on a question's forward-KL gradient at accuracy p in [0, 1] (of the correctness term, for (21)
    /// and (24)).
    #[must_use]
    pub fn question_weight(&self, accuracy: f64) -> f64 {
        match *self {
            Self::Sft => sft::question_weight(accuracy),
            Self::ForwardKl => forward_kl::question_weight(accuracy),
            Self::MultiTrace(_) => multi_trace::question_weight(accuracy),
            Self::ElboSingle => elbo_single::question_weight(accuracy),
            Self::IwaePhi => iwae_phi::question_weight(accuracy),
            Self::ReverseKl => reverse_kl::question_weight(accuracy),
            Self::Rft => rft::question_weight(accuracy),
            Self::BinaryReward => binary_reward::question_weight(accuracy),
            Self::Grpo => grpo::question_weight(accuracy),
            Self::MaxRl => maxrl::question_weight(accuracy),
            Self::FormatReward(rewards) => format_reward::question_weight(accuracy, rewards),
            Self::DebiasedReward(rewards) => debiased_reward::question_weight(accuracy, rewards),
            Self::VeriFree => verifree::question_weight(accuracy),
            Self::PosteriorBehaviour => posterior_behaviour::question_weight(accuracy),
        }
    }

    /// Which model the weights train.
    #[must_use]
    pub const fn trains(&self) -> Trained {
        use Trained::{Either, Posterior, Reasoner};
        match self {
            Self::Sft => Either,
            Self::ForwardKl | Self::ElboSingle | Self::IwaePhi | Self::ReverseKl => Posterior,
            _ => Reasoner,
        }
    }

    /// Who must have drawn the traces.
    #[must_use]
    pub const fn traces_from(&self) -> TraceOrigin {
        match self {
            Self::Sft => TraceOrigin::Dataset,
            Self::MultiTrace(_)
            | Self::ElboSingle
            | Self::IwaePhi
            | Self::ReverseKl
            | Self::PosteriorBehaviour => TraceOrigin::Posterior,
            _ => TraceOrigin::Reasoner,
        }
    }
}

/// The weight of every objective that normalises within a question.
fn one_unless_never_correct(accuracy: f64) -> f64 {
    if accuracy > 0.0 { 1.0 } else { 0.0 }
}
