//! What others do on the same work: PyTorch with transformers, and vLLM, if the python has them.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use super::output;
use super::work::{Activity, DRAWN, UPDATES, Workload};

/// The fastest of a peer's settings.
pub struct Peer {
    pub name: String,
    pub rate: f64,
}

/// The best of all peers and settings; none where nothing is installed.
///
/// # Errors
/// A peer that is there and fails.
pub fn best(python: &str, work: &Workload) -> Result<Option<Peer>> {
    let (model, rows) = (work.shape.folder(), work.rows());
    let mut best: Option<Peer> = None;
    for (script, setting) in scripts(work.activity) {
        let mut command = Command::new(python);
        command.arg(script).arg(&model).arg(&rows).arg(setting);
        if let Activity::Train { batch, .. } = work.activity {
            command.args([batch.to_string(), UPDATES.to_string()]);
        }
        if let Activity::Decode { .. } = work.activity {
            command.arg(DRAWN.to_string());
        }
        let said = output(&mut command)?.0;
        // The last line is the result; null where the package is not there.
        let result: Value = serde_json::from_str(said.lines().last().unwrap_or("null"))?;
        if let Some(rate) = result["tokens_per_second"]
            .as_f64()
            .filter(|rate| best.as_ref().is_none_or(|best| best.rate < *rate))
        {
            best = Some(Peer { name: result["peer"].as_str().unwrap_or(setting).to_owned(), rate });
        }
    }
    Ok(best)
}

/// Scripts and settings for an activity.
fn scripts(activity: Activity) -> Vec<(&'static str, &'static str)> {
    const TORCH: &str = "oracle/bench_torch.py";
    match activity {
        Activity::Train { .. } => vec![(TORCH, "train-f32"), (TORCH, "train-bf16")],
        Activity::Score => vec![(TORCH, "score-f32"), (TORCH, "score-bf16")],
        Activity::Decode { .. } => {
            vec![("oracle/bench_vllm.py", "float32"), ("oracle/bench_vllm.py", "bfloat16")]
        }
    }
}
