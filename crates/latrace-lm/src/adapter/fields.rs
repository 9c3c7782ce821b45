//! `adapter_config.json`, PEFT's description of an adapter.

use super::Part;
use super::lora::{Lora, is_named, scale};
use crate::error::Result;
use crate::fields::Fields;
use serde_json::{Map, Value, json};

/// What is written of a new adapter, but for its base.
pub(super) fn written(settings: &Lora) -> Map<String, Value> {
    let fields = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "use_rslora": settings.rslora,
        "lora_dropout": settings.dropout,
        "target_modules": settings.targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "modules_to_save": null,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("an object is written above"),
    }
}

/// How much the adapters of projections count.
pub(super) struct Scales<'a> {
    fields: &'a Fields<'a>,
    alpha: f64,
    rslora: bool,
    alphas: Patterns,
}

/// Values for projections by their names.
type Patterns = Vec<(String, f64)>;

impl<'a> Scales<'a> {
    /// Checks that the adapter is one that is read here.
    pub fn read(fields: &'a Fields<'a>) -> Result<Self> {
        check_supported(fields)?;
        let alpha = fields.number("lora_alpha")?.unwrap_or(DEFAULT_ALPHA);
        let rslora = fields.flag("use_rslora", false)?;
        Ok(Self { fields, alpha, rslora, alphas: patterns(fields, "alpha_pattern")? })
    }

    /// Of a projection whose A has that many rows.
    pub fn part(&self, module: &str, [outputs, inputs]: [usize; 2], rank: usize) -> Result<Part> {
        let own = self.alphas.iter().find(|(name, _)| is_named(module, name)).map(|(_, alpha)| *alpha);
        let alpha = own.unwrap_or(self.alpha);
        if !alpha.is_finite() {
            return Err(self.fields.error("lora_alpha", "a finite number", alpha));
        }
        Ok(Part { module: module.to_owned(), inputs, outputs, rank, scale: scale(alpha, rank, self.rslora) })
    }
}

/// PEFT's own.
const DEFAULT_ALPHA: f64 = 8.0;

/// Fields that change what an adapter computes in ways that are not computed here.
const UNSUPPORTED: [&str; 8] = [
    "bias",
    "fan_in_fan_out",
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
];

fn check_supported(fields: &Fields<'_>) -> Result<()> {
    match fields.text("peft_type")? {
        Some("LORA") => {}
        other => return Err(fields.error("peft_type", "\"LORA\"", format!("{other:?}"))),
    }
    let is_neutral = |value: &Value| match value {
        Value::Bool(on) => !on,
        Value::String(text) => text == "none",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    for field in UNSUPPORTED {
        if let Some(value) = fields.get(field).filter(|value| !is_neutral(value)) {
            return Err(fields.error(field, "none, since nothing else is supported", value));
        }
    }
    Ok(())
}

fn patterns(fields: &Fields<'_>, field: &str) -> Result<Patterns> {
    let Some(map) = fields.object(field)? else { return Ok(Vec::new()) };
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    let pattern = |(name, value): (&String, &Value)| match value.as_f64().filter(|_| plain(name)) {
        Some(number) => Ok((name.clone(), number)),
        None => Err(fields.error(field, "numbers by the names of projections", format!("{name:?}: {value}"))),
    };
    map.map.iter().map(pattern).collect()
}
