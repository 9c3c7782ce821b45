//! Settings of the torchrun engine.

use anyhow::Result;
use latrace_io::failure::Failure;
use serde::{Deserialize, Serialize};

use super::failure::MISSING;
use crate::child::{lacking, shell_line};

/// The data type of matrix products and activations; master weights and moments are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TorchDtype {
    /// bfloat16.
    Bf16,
    /// 32-bit floats.
    F32,
}

impl TorchDtype {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

/// The attention's implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TorchAttention {
    /// `packed` on CUDA, for models with full attention in every layer; `sdpa` otherwise.
    Auto,
    /// Rows packed up to `tokens_per_micro_batch`: FlashAttention of `torch.nn.attention.varlen` on CUDA.
    Packed,
    /// A row per pass, with PyTorch's scaled dot-product attention.
    Sdpa,
    /// A row per pass, with the plain attention of transformers.
    Eager,
}

impl TorchAttention {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Packed => "packed",
            Self::Sdpa => "sdpa",
            Self::Eager => "eager",
        }
    }
}

/// Settings of the torchrun engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TorchrunConfig {
    /// The command that starts the ranks; the worker and its job are added as its last arguments.
    pub launch: Vec<String>,
    /// The data type of computation.
    pub dtype: TorchDtype,
    /// The attention's implementation.
    pub attention: TorchAttention,
    /// Keep weights, gradients and moments in host memory, and take a layer at a time to the device.
    pub cpu_offload: bool,
    /// Recompute a layer's activations in the backward pass: far less memory, a third more work.
    pub activation_checkpointing: bool,
    /// Tokens of a pass of one rank, where rows are packed; a longer row is a pass of its own.
    pub tokens_per_micro_batch: usize,
    /// Longest silence of the ranks, in seconds, while they start, make an update or save.
    pub timeout: u64,
}

impl Default for TorchrunConfig {
    fn default() -> Self {
        let launch = ["torchrun", "--standalone", "--nproc-per-node", "gpu"];
        Self {
            launch: launch.map(str::to_owned).to_vec(),
            dtype: TorchDtype::Bf16,
            attention: TorchAttention::Auto,
            cpu_offload: false,
            activation_checkpointing: true,
            tokens_per_micro_batch: 16_384,
            timeout: 3600,
        }
    }
}

impl TorchrunConfig {
    /// The ranks that the command starts, where its arguments say so: `--nnodes` times `--nproc-per-node`.
    #[must_use]
    pub fn ranks(&self) -> Option<u64> {
        let nodes = self.argument("--nnodes").map_or(Ok(1), |nodes| nodes.parse::<u64>()).ok()?;
        let of_node: u64 = self.argument("--nproc-per-node")?.parse().ok()?;
        Some(nodes * of_node)
    }

    /// The value of an argument of the command, in either of torchrun's spellings.
    fn argument(&self, name: &str) -> Option<String> {
        self.launch.iter().enumerate().find_map(|(at, given)| match given.replace('_', "-").split_once('=') {
            Some((named, value)) => (named == name).then(|| value.to_owned()),
            None => (given.replace('_', "-") == name).then(|| self.launch.get(at + 1).cloned())?,
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first field out of its range, with what is expected.
    pub fn validate(&self) -> Result<()> {
        if self.launch.first().is_none_or(String::is_empty) {
            return Err(
                Failure::usage("torchrun.launch: expected a command and its arguments, got nothing").into()
            );
        }
        check_positive("tokens_per_micro_batch", self.tokens_per_micro_batch as u64)?;
        check_positive("timeout", self.timeout)
    }

    /// Checks that the command of `launch` is installed, as far as that shows before it is started.
    pub(super) fn check_installed(&self) -> Result<()> {
        let Some(what) = lacking(&self.launch) else { return Ok(()) };
        let command = shell_line(&self.launch);
        let message = format!("cannot start ranks by `{command}` (torchrun.launch): {what}");
        Err(Failure::work(message).hint(MISSING).into())
    }
}

fn check_positive(field: &str, value: u64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Failure::usage(format!("torchrun.{field}: expected at least 1, got 0")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut TorchrunConfig), expected: Option<&str>) {
        let mut config = TorchrunConfig::default();
        change(&mut config);
        assert_eq!(config.validate().err().map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn ranks_are_counted_where_the_command_says_so() {
        let ranks = |launch: &str| {
            let launch = launch.split(' ').map(str::to_owned).collect();
            TorchrunConfig { launch, ..TorchrunConfig::default() }.ranks()
        };
        assert_eq!(ranks("torchrun --standalone --nproc-per-node 8"), Some(8));
        assert_eq!(ranks("srun torchrun --nnodes=2 --nproc_per_node=4"), Some(8));
        assert_eq!(ranks("torchrun --nnodes 1:4 --nproc-per-node 4"), None);
        assert_eq!(ranks("torchrun --nproc-per-node gpu"), None);
        assert_eq!(ranks("python -m worker"), None);
    }

    #[test]
    fn fields_out_of_their_range_are_named() {
        check(|_| {}, None);
        let no_command = "torchrun.launch: expected a command and its arguments, got nothing";
        check(|config| config.launch.clear(), Some(no_command));
        check(|config| config.launch = vec![String::new()], Some(no_command));
        let budget = "torchrun.tokens_per_micro_batch: expected at least 1, got 0";
        check(|config| config.tokens_per_micro_batch = 0, Some(budget));
        check(|config| config.timeout = 0, Some("torchrun.timeout: expected at least 1, got 0"));
    }

    #[test]
    fn keys_are_known_by_name_and_absent_ones_have_defaults() {
        let config: TorchrunConfig =
            toml::from_str("launch = [\"python\"]\ndtype = \"f32\"\nattention = \"packed\"").unwrap();
        let expected = TorchrunConfig {
            launch: vec!["python".to_owned()],
            dtype: TorchDtype::F32,
            attention: TorchAttention::Packed,
            ..TorchrunConfig::default()
        };
        assert_eq!(config, expected);
        let unknown = toml::from_str::<TorchrunConfig>("lauch = []").unwrap_err();
        assert!(unknown.to_string().contains("unknown field `lauch`"), "{unknown}");
    }
}
