//! Requests and responses of vLLM and SGLang, as a server has them.

use std::sync::mpsc::channel;
use std::thread::sleep;

use anyhow::{Context, Result, bail};
use latrace_core::{SamplingParams, StopReason};
use latrace_io::rows::shortest;
use serde_json::{Value, json};

use super::super::ask::SEED_MASK;
use super::{Fault, Shared, Work, lock};
use crate::boundary::{Completion, Request, ScoreRow, StopTexts};

/// Where JSON text is to say NaN, which no JSON value can.
pub(super) const NAN_HERE: &str = "\"nan-here\"";

/// Parameters of a request, with the defaults of a `generation_config.json` as models have them.
struct Parameters<'a> {
    stated: &'a Value,
    /// The whole seed, where the client states it.
    seed: Option<u64>,
}

impl Parameters<'_> {
    fn number(&self, name: &str, default: f64) -> f64 {
        self.stated[name].as_f64().unwrap_or(default)
    }

    fn is(&self, name: &str) -> bool {
        self.stated[name].as_bool().unwrap_or(false)
    }

    fn ids(&self, name: &str) -> Result<Vec<u32>> {
        let ids = &self.stated[name];
        if ids.is_null() { Ok(Vec::new()) } else { Ok(serde_json::from_value(ids.clone())?) }
    }

    fn request(&self, prompt: &[u32], most: usize, seed: &str, top_k: usize) -> Result<Request> {
        let texts = &self.stated["stop"];
        let texts = if texts.is_null() { Vec::new() } else { serde_json::from_value(texts.clone())? };
        let params = SamplingParams {
            temperature: self.number("temperature", 0.6) as f32,
            top_p: self.number("top_p", 0.95) as f32,
            top_k,
            min_p: self.number("min_p", 0.1) as f32,
            max_new_tokens: most,
        };
        let stated =
            self.stated[seed].as_i64().context("a sample without a seed that is a signed number")? as u64;
        let seed = self.seed.unwrap_or(stated);
        if seed & SEED_MASK != stated {
            bail!("the seed {stated} in the body is not that of the header");
        }
        Ok(Request {
            prompt: prompt.to_vec(),
            seeds: vec![seed],
            params,
            stop_ids: Vec::new(),
            stop_texts: StopTexts::new(texts),
        })
    }
}

/// A sample with its fault.
fn drawn(mut request: Request, shared: &Shared, fault: Option<Fault>) -> Result<Completion> {
    lock(&shared.prompts).push(request.prompt.clone());
    // As the real ones do, without a word.
    let room = shared.max_model_len().saturating_sub(request.prompt.len());
    request.params.max_new_tokens = request.params.max_new_tokens.min(room);
    if fault == Some(Fault::Shortened) {
        request.params.max_new_tokens = (request.params.max_new_tokens / 2).max(1);
    }
    if fault == Some(Fault::OtherPrompt) {
        request.prompt.truncate(1);
    }
    let temperature = request.params.temperature;
    let (result, got) = channel();
    lock(&shared.work).send(Work::Sample(request, result)).ok().context("the model's thread has ended")?;
    let mut completion = got.recv().context("the model's thread has ended")??;
    if fault == Some(Fault::Processed) {
        completion.logp.iter_mut().for_each(|logp| *logp /= temperature);
    }
    sleep(shared.options.token_time * completion.ids.len() as u32);
    Ok(completion)
}

/// Log-probs of all tokens but the first.
fn scored(ids: &[u32], shared: &Shared) -> Result<Vec<f32>> {
    if ids.len() >= shared.max_model_len() {
        bail!("the prompt of {} tokens is too long for {}", ids.len(), shared.max_model_len());
    }
    let (first, rest) = ids.split_at(1.min(ids.len()));
    let row = ScoreRow { prompt: first.to_vec(), response: rest.to_vec() };
    if row.response.is_empty() {
        return Ok(Vec::new());
    }
    let (result, got) = channel();
    lock(&shared.work).send(Work::Score(row, result)).ok().context("the model's thread has ended")?;
    got.recv().context("the model's thread has ended")?
}

/// Log-probs in JSON, the first of them with its fault.
fn in_json(logp: &[f32], fault: Option<Fault>, not_a_number: &Value) -> Vec<Value> {
    let mut values: Vec<Value> = logp.iter().map(|&logp| json!(shortest(logp))).collect();
    if fault == Some(Fault::Constant) {
        values.fill(json!(-1.0));
    }
    match (fault, values.first_mut()) {
        (Some(Fault::NotANumber), Some(first)) => *first = not_a_number.clone(),
        (Some(Fault::Clamped), Some(first)) => *first = json!(-9999.0),
        _ => {}
    }
    values
}

pub(super) fn vllm(asked: &Value, seed: Option<u64>, shared: &Shared, fault: Option<Fault>) -> Result<Value> {
    let not_a_number: Value = serde_json::from_str(NAN_HERE)?;
    let parameters = Parameters { stated: asked, seed };
    if asked["model"] != shared.name.as_str() {
        bail!("The model {} does not exist.", asked["model"]);
    }
    let prompt: Vec<u32> = serde_json::from_value(asked["prompt"].clone())?;
    if !asked["prompt_logprobs"].is_null() {
        let logp = in_json(&scored(&prompt, shared)?, fault, &not_a_number);
        let of = |(id, logp): (&u32, Value)| json!({id.to_string(): {"logprob": logp, "rank": 1}});
        let of_rest = prompt.iter().skip(1).zip(logp).map(of);
        let all: Vec<Value> = [Value::Null].into_iter().chain(of_rest).collect();
        return Ok(if shared.options.is_old {
            json!({"choices": [{"index": 0, "finish_reason": "length"}], "prompt_logprobs": all})
        } else {
            json!({"choices": [{"index": 0, "finish_reason": "length", "prompt_logprobs": all}]})
        });
    }
    let top_k = asked["top_k"].as_u64().unwrap_or(20) as usize;
    let most = parameters.number("max_tokens", 16.0) as usize;
    let mut request = parameters.request(&prompt, most, "seed", top_k)?;
    request.stop_ids = parameters.ids("stop_token_ids")?;
    if !parameters.is("ignore_eos") {
        request.stop_ids.extend(&shared.shape.end_ids);
    }
    let completion = drawn(request, shared, fault)?;
    let logp = in_json(&completion.logp, fault, &not_a_number);
    let is_with_ids = fault != Some(Fault::NoTokenIds);
    let token = |id: &u32| {
        let as_ids = is_with_ids && parameters.is("return_tokens_as_token_ids");
        if as_ids { json!(format!("token_id:{id}")) } else { json!("a text") }
    };
    let tokens: Vec<Value> = completion.ids.iter().map(token).collect();
    let mut choice = json!({
        "index": 0, "text": "", "finish_reason": finish(completion.stop),
        "logprobs": {"text_offset": [], "token_logprobs": logp, "tokens": tokens, "top_logprobs": []},
    });
    if is_with_ids && !shared.options.is_old && parameters.is("return_token_ids") {
        let repeated = if fault == Some(Fault::OtherPrompt) { &prompt[..1] } else { &prompt };
        choice["token_ids"] = json!(completion.ids);
        choice["prompt_token_ids"] = json!(repeated);
    }
    Ok(json!({"object": "text_completion", "choices": [choice]}))
}

fn finish(stop: StopReason) -> &'static str {
    if stop == StopReason::MaxTokens { "length" } else { "stop" }
}

pub(super) fn sglang(
    asked: &Value,
    seed: Option<u64>,
    shared: &Shared,
    fault: Option<Fault>,
) -> Result<Value> {
    let parameters = Parameters { stated: &asked["sampling_params"], seed };
    let ids: Vec<u32> = serde_json::from_value(asked["input_ids"].clone())?;
    let most = parameters.number("max_new_tokens", 128.0) as usize;
    if let Some(start) = asked["logprob_start_len"].as_u64() {
        let logp = in_json(&scored(&ids, shared)?, fault, &Value::Null);
        let start = start as usize;
        let logp = logp.into_iter().skip(start).zip(&ids[start + 1..]);
        let of_rest = logp.map(|(logp, id)| json!([logp, id, null]));
        let all: Vec<Value> = [json!([null, ids[start], null])].into_iter().chain(of_rest).collect();
        let meta = json!({"finish_reason": {"type": "length"}, "input_token_logprobs": all});
        return Ok(shaped(json!({"output_ids": [0], "meta_info": meta}), shared));
    }
    let top_k = parameters.number("top_k", 20.0).max(0.0) as usize;
    let mut request = parameters.request(&ids, most, "sampling_seed", top_k)?;
    if !parameters.is("ignore_eos") {
        request.stop_ids = parameters.ids("stop_token_ids")?;
        request.stop_ids.extend(&shared.shape.end_ids);
    }
    let completion = drawn(request, shared, fault)?;
    let logp = in_json(&completion.logp, fault, &Value::Null);
    let of_output: Vec<Value> =
        logp.into_iter().zip(&completion.ids).map(|(logp, id)| json!([logp, id, null])).collect();
    let finish = finish(completion.stop);
    let finish = if shared.options.is_old { json!(finish) } else { json!({"type": finish}) };
    let mut meta = json!({"finish_reason": finish});
    if fault != Some(Fault::NoTokenIds) {
        meta["output_token_logprobs"] = json!(of_output);
    }
    let mut response = json!({"text": "", "meta_info": meta});
    if !shared.options.is_old {
        response["output_ids"] = json!(completion.ids);
    }
    Ok(shaped(response, shared))
}

/// Older servers answer with a list.
fn shaped(response: Value, shared: &Shared) -> Value {
    if shared.options.is_old { json!([response]) } else { response }
}
