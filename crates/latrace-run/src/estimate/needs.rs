//! The memory and the disk space that a run's models need, by its recipe and the size of the model that it starts from.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use latrace_engine::adapters::adapter_parameters;
use latrace_engine::train_config::StoreAs;
use latrace_engine::{Compute, Parameters, TorchrunConfig, TrainConfig};

use super::Work;
use crate::pipeline::runner::folder_of;
use crate::plan::{Plan, Settings, Stage};
use crate::recipe::run::{GenerateEngine, RunRecipe, ScoreEngine, TrainEngine};
use crate::stages::model::before_run;

/// The folder of the model that a run starts from, also before the run has made it: then it is made in `scratch`, with
/// weights only if they are wanted.
///
/// # Errors
/// A given model that is not there; texts or a shape from which no model can be created.
pub fn model_before(plan: &Plan, run: &Path, scratch: &Path, weights: bool) -> Result<PathBuf> {
    let node = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id]);
    let Some(node) = node else { bail!("the plan begins with no model") };
    let Settings::Model(settings) = &node.settings else { bail!("the plan begins with no model") };
    let made = folder_of(node, run.join(node.folder()))?;
    if made.join("config.json").is_file() { Ok(made) } else { before_run(settings, scratch, weights) }
}

/// A number of bytes, and what takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whose it is: "torchrun, each of 8 ranks".
    pub whose: String,
    /// What takes it.
    pub what: String,
    /// How much (bytes).
    pub bytes: u64,
}

impl Need {
    fn new(whose: &str, what: impl Into<String>, bytes: u64) -> Need {
        Need { whose: whose.to_owned(), what: what.into(), bytes }
    }
}

/// Bytes of a parameter in f32, and with its gradient and both moments of AdamW.
const KEPT: u64 = 4;
const TRAINED: u64 = 16;

/// Tokens whose keys and values are stated, as numbers for one token are hard to add up.
const CACHED: u64 = 1000;

/// The memory for training, sampling and scoring with the recipe's engines.
///
/// # Errors
/// A folder without a usable model.
pub fn memory(recipe: &RunRecipe, model: &Path) -> Result<(Parameters, Vec<Need>)> {
    let parameters = Parameters::read(model)?;
    let adapted = adapters(recipe, model)?;
    let needs = [training(recipe, &parameters, &adapted), serving(recipe, &parameters)].concat();
    Ok((parameters, needs))
}

/// The parameters of each training's adapter; none where the weights are trained.
fn adapters(recipe: &RunRecipe, model: &Path) -> Result<Vec<Option<u64>>> {
    let count =
        |config: &TrainConfig| config.lora.as_ref().map(|lora| adapter_parameters(model, lora)).transpose();
    recipe.trained().into_iter().map(count).collect()
}

fn training(recipe: &RunRecipe, parameters: &Parameters, adapted: &[Option<u64>]) -> Vec<Need> {
    let of_one = |adapter: &Option<u64>| match adapter {
        Some(adapter) => KEPT * parameters.all + TRAINED * adapter,
        None => TRAINED * parameters.all,
    };
    // One training at a time: the largest counts.
    let all = adapted.iter().map(of_one).max().unwrap_or(0);
    let config = &recipe.r#final.config;
    let row = parameters.positions.min(config.cutoff_length as u64);
    match recipe.engine.train {
        TrainEngine::Manual => Vec::new(),
        TrainEngine::Cpu => vec![
            Need::new("training, here", "weights in f32, gradients and moments of what is trained", all),
            Need::new("training, here", activations(row), 4 * parameters.layers * parameters.hidden * row),
        ],
        TrainEngine::Torchrun => of_ranks(&recipe.torchrun, parameters, row),
    }
}

fn of_ranks(config: &TorchrunConfig, parameters: &Parameters, row: u64) -> Vec<Need> {
    let (whose, ranks) = match config.ranks() {
        Some(ranks) => (format!("torchrun, each of {ranks} ranks"), ranks),
        None => ("torchrun, all ranks together".to_owned(), 1),
    };
    let place = if config.cpu_offload { ", in host memory" } else { "" };
    // FSDP2 gives each rank its part; activations are of the rank's own rows.
    let state = Need::new(
        &whose,
        format!("weights, gradients and moments in f32{place}"),
        (TRAINED * parameters.all).div_ceil(ranks),
    );
    let tokens = row.max(config.tokens_per_micro_batch as u64);
    let kept = 2 * parameters.layers * parameters.hidden * tokens;
    vec![state, Need::new(&whose, activations(tokens), kept)]
}

fn activations(tokens: u64) -> String {
    format!("activations kept between layers, for a pass of {tokens} tokens, if layers are recomputed")
}

fn serving(recipe: &RunRecipe, parameters: &Parameters) -> Vec<Need> {
    let (generate, score) = (recipe.engine.generate, recipe.engine.score);
    let mut needs = Vec::new();
    if generate == GenerateEngine::Servers || score == ScoreEngine::Servers {
        let servers = &recipe.servers;
        let gpus = servers.gpus_per_replica.max(1) as u64;
        let bytes = if servers.dtype == "float32" { 4 } else { 2 };
        needs.extend(of_cache("servers, each GPU", parameters, bytes, gpus));
    }
    if generate == GenerateEngine::Cpu || score == ScoreEngine::Cpu {
        let bytes = if recipe.engine.compute.here() == Compute::Bf16 { 2 } else { 4 };
        needs.extend(of_cache("sampling and scoring, here", parameters, bytes, 1));
    }
    needs
}

/// Weights and cache, with so many bytes of a value, over `gpus`.
fn of_cache(whose: &str, parameters: &Parameters, bytes: u64, gpus: u64) -> [Need; 2] {
    let of_token = 2 * bytes * parameters.layers * parameters.key_values;
    [
        Need::new(whose, "weights", (bytes * parameters.all).div_ceil(gpus)),
        Need::new(whose, format!("cache of {CACHED} tokens"), (CACHED * of_token).div_ceil(gpus)),
    ]
}

/// The disk space of the tables and models of stages that are still to be done, `works` (bytes): the tables' tokens and
/// log-probs, the models, and the checkpoints of a training, of which there are two while one is written.
pub fn disk(plan: &Plan, works: &[(usize, Work)], parameters: u64) -> Vec<Need> {
    // An id and a log-prob of each token; scores have the latter alone.
    let tables = works.iter().map(|(_, work)| 8 * work.drawn + 4 * work.scored).sum();
    let mut needs = vec![Need::new("run folder", "tables of samples and scores", tables)];
    let saved = works.iter().filter_map(|(node, _)| match &plan.nodes[*node].settings {
        // Adapters are small beside models.
        Settings::Fit(settings) if settings.config().lora.is_none() => {
            Some(if settings.config().save_dtype == StoreAs::F32 { 4 } else { 2 })
        }
        _ => None,
    });
    let (count, of_parameter) = saved.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    if count > 0 {
        needs.push(Need::new("run folder", format!("{count} models"), of_parameter * parameters));
        // Weights and both moments in f32.
        needs.push(Need::new(
            "run folder",
            "checkpoints of a training, while one is written",
            2 * 12 * parameters,
        ));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4.02 G parameters, as a model of 36 layers has.
    const PARAMETERS: Parameters =
        Parameters { all: 4_022_468_096, layers: 36, hidden: 2560, key_values: 1024, positions: 32_768 };

    fn needs(settings: &[&str]) -> Vec<(String, u64)> {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let recipe = RunRecipe::read(&recipe, &settings).unwrap();
        // As if an adapter had 10 M parameters.
        let adapted: Vec<_> =
            recipe.trained().iter().map(|config| config.lora.as_ref().map(|_| 10_000_000)).collect();
        let needs = [training(&recipe, &PARAMETERS, &adapted), serving(&recipe, &PARAMETERS)].concat();
        needs.into_iter().map(|need| (need.whose, need.bytes / 1_000_000)).collect()
    }

    #[test]
    fn memory_is_that_of_a_gpu() {
        let all = |whose: &str, bytes: &[u64]| {
            bytes.iter().map(|&bytes| (whose.to_owned(), bytes)).collect::<Vec<_>>()
        };
        let servers = [
            "engine.generate=servers",
            "engine.score=servers",
            "engine.train=torchrun",
            "servers.gpus_per_replica=2",
        ];
        let launch = "torchrun.launch=[\"torchrun\", \"--nnodes=2\", \"--nproc-per-node\", \"4\"]";
        let found = needs(&[&servers[..], &[launch]].concat());
        // 16 bytes over 8 ranks; 2 * 36 * 2560 * 16384; 2 bytes over 2 GPUs; 4 * 36 * 1024 * 1000 over 2.
        let expected =
            [all("torchrun, each of 8 ranks", &[8044, 3019]), all("servers, each GPU", &[4022, 73])].concat();
        assert_eq!(found, expected);
        let found = needs(&[&servers[..], &["torchrun.launch=[\"srun\", \"worker\"]"]].concat());
        assert_eq!(found[0], ("torchrun, all ranks together".to_owned(), 64_359));
        let here = needs(&[]);
        assert_eq!(here[0], ("training, here".to_owned(), 64_359));
        assert_eq!(here[2], ("sampling and scoring, here".to_owned(), 16_089));
        assert_eq!(needs(&["engine.train=manual"]).len(), 2);
        // Of several trainings the largest counts: weights of 16 GB, and 0.16 GB of an adapter's 10 M parameters.
        assert_eq!(needs(&["final.lora.rank=8"])[0].1, 64_359);
        let adapters =
            ["initial.init=model", "initial.lora.rank=8", "posterior.lora.rank=8", "final.lora.rank=8"];
        assert_eq!(needs(&adapters)[0].1, 16_249);
    }
}
