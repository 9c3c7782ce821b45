//! vLLM: `/v1/completions` with token ids.
//!
//! Differs in: its own end token never ends a sample (`ignore_eos`), only the request's stop ids do, which
//! vLLM heeds all the same. Versions before `return_token_ids` give ids as texts, `token_id:7`, which is
//! asked for as well.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::ask::{Call, Drawn, DrawnEnd, SEED_MASK, SampleAsk, ScoreAsk, parse, wrong};
use super::dialect::{Dialect, Launch, command, decimal, pairs, split_over_gpus};
use super::error::Trouble;

const PATH: &str = "/v1/completions";

pub(super) struct Vllm;

#[derive(Deserialize)]
struct Response {
    choices: Vec<Choice>,
    /// Of newer shapes, which have it beside the choices.
    prompt_logprobs: Option<PromptLogprobs>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<String>,
    token_ids: Option<Vec<u32>>,
    prompt_token_ids: Option<Vec<u32>>,
    logprobs: Option<Logprobs>,
    prompt_logprobs: Option<PromptLogprobs>,
}

/// By position, then by id as a text. The first token has none.
type PromptLogprobs = Vec<Option<HashMap<String, PromptLogprob>>>;

#[derive(Deserialize)]
struct PromptLogprob {
    logprob: Option<f64>,
}

/// Two generations: lists beside each other, and a list of objects.
#[derive(Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Lists { token_logprobs: Vec<Option<f64>>, tokens: Vec<String> },
    Objects { content: Vec<TokenLogprob> },
}

#[derive(Deserialize)]
struct TokenLogprob {
    token_id: Option<u32>,
    token: Option<String>,
    logprob: Option<f64>,
}

impl Logprobs {
    /// The ids, where they are given as numbers or as `token_id:7`.
    fn ids(&self) -> Option<Vec<u32>> {
        match self {
            Logprobs::Lists { tokens, .. } => tokens.iter().map(|token| id_in(token)).collect(),
            Logprobs::Objects { content } => {
                content.iter().map(|of| of.token_id.or_else(|| id_in(of.token.as_deref()?))).collect()
            }
        }
    }

    fn into_logp(self) -> Vec<Option<f64>> {
        match self {
            Logprobs::Lists { token_logprobs, .. } => token_logprobs,
            Logprobs::Objects { content } => content.into_iter().map(|of| of.logprob).collect(),
        }
    }
}

fn id_in(token: &str) -> Option<u32> {
    token.strip_prefix("token_id:")?.parse().ok()
}

/// The only choice of a response.
fn choice(body: &[u8]) -> Result<Choice, Trouble> {
    let Response { mut choices, prompt_logprobs } = parse(body, "vLLM")?;
    let [choice] = &mut choices[..] else {
        return Err(wrong(format!("expected one completion, got {}", choices.len())));
    };
    choice.prompt_logprobs = choice.prompt_logprobs.take().or(prompt_logprobs);
    Ok(choices.remove(0))
}

impl Dialect for Vllm {
    fn name(&self) -> &'static str {
        "vLLM"
    }

    fn sample(&self, ask: &SampleAsk, name: &str) -> Call {
        let request = &ask.request;
        let body = json!({
            "model": name,
            "prompt": request.prompt,
            "n": 1,
            "seed": ask.seed() & SEED_MASK,
            "max_tokens": ask.limit,
            "min_tokens": 0,
            "temperature": decimal(request.params.temperature),
            "top_p": decimal(request.params.top_p),
            "top_k": request.params.top_k,
            "min_p": decimal(request.params.min_p),
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop": request.stop_texts.texts(),
            "stop_token_ids": request.stop_ids,
            "include_stop_str_in_output": true,
            "ignore_eos": true,
            "skip_special_tokens": false,
            "spaces_between_special_tokens": false,
            "add_special_tokens": false,
            "logprobs": 0,
            "return_token_ids": true,
            "return_tokens_as_token_ids": true,
            "stream": false,
        });
        Call { path: PATH, body, seed: Some(ask.seed()) }
    }

    fn read_sample(&self, body: &[u8]) -> Result<Drawn, Trouble> {
        let choice = choice(body)?;
        let end = match choice.finish_reason.as_deref() {
            Some("stop") => DrawnEnd::Stop,
            Some("length") => DrawnEnd::Limit,
            // It is shutting down, or its engine is.
            Some("abort") => return Err(Trouble::Passing("it has aborted the request".to_owned())),
            other => {
                return Err(wrong(format!(
                    "expected \"stop\" or \"length\" as finish_reason, got {other:?}"
                )));
            }
        };
        let logprobs = choice.logprobs.ok_or_else(|| wrong("its response has no logprobs"))?;
        let ids = choice.token_ids.or_else(|| logprobs.ids()).ok_or_else(|| {
            wrong(
                "its response has no token_ids: expected a vLLM that knows return_token_ids, 0.10.2 or later",
            )
        })?;
        Ok(Drawn { ids, logp: logprobs.into_logp(), end, prompt: choice.prompt_token_ids })
    }

    fn score(&self, ask: &ScoreAsk, name: &str) -> Call {
        // Without a seed: what is drawn after the row is thrown away.
        let body = json!({
            "model": name,
            "prompt": ask.ids(),
            "n": 1,
            "max_tokens": 1,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "prompt_logprobs": 0,
            "add_special_tokens": false,
            "return_token_ids": true,
            "stream": false,
        });
        Call { path: PATH, body, seed: None }
    }

    fn read_scores(&self, ask: &ScoreAsk, body: &[u8]) -> Result<Vec<Option<f64>>, Trouble> {
        let of_prompt =
            choice(body)?.prompt_logprobs.ok_or_else(|| wrong("its response has no prompt_logprobs"))?;
        let (first, all) = (ask.row.prompt.len(), ask.row.prompt.len() + ask.row.response.len());
        if of_prompt.len() != all {
            return Err(wrong(format!("expected log-probs of {all} tokens, got {}", of_prompt.len())));
        }
        let entry = |(at, id): (usize, &u32)| {
            let of_id = of_prompt[first + at].as_ref().and_then(|of| of.get(&id.to_string()));
            of_id
                .map(|entry| entry.logprob)
                .ok_or_else(|| wrong(format!("token {at} of the row, {id}, has no log-prob")))
        };
        ask.row.response.iter().enumerate().map(entry).collect()
    }

    fn default_command(&self) -> &'static [&'static str] {
        &["vllm", "serve"]
    }

    fn own_arguments(&self, launch: &Launch<'_>) -> Vec<String> {
        let model = launch.model.display().to_string();
        // `vllm serve` takes the model by its place; the module takes it by an option.
        let takes_place = command(self, launch.config).iter().any(|word| word == "serve");
        let model = if takes_place { vec![model] } else { vec!["--model".to_owned(), model] };
        let own =
            pairs([("--served-model-name", launch.name.to_owned()), ("--port", launch.port.to_string())]);
        [model, own].concat()
    }

    fn other_arguments(&self, launch: &Launch<'_>) -> Vec<(&'static str, String)> {
        let mut arguments = vec![
            ("--host", launch.host.to_owned()),
            // Otherwise the model folder's sampling parameters are the defaults of every request.
            ("--generation-config", "vllm".to_owned()),
            ("--max-model-len", launch.positions.to_string()),
            ("--logprobs-mode", "raw_logprobs".to_owned()),
            // Log-probs of prompts take this times the vocabulary, outside vLLM's plan of its memory.
            ("--max-num-batched-tokens", "2048".to_owned()),
            ("--dtype", launch.config.dtype.clone()),
        ];
        let others = ["-tp", "--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp"];
        arguments.extend(split_over_gpus(launch.config, "--tensor-parallel-size", &others));
        arguments
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        Vec::new()
    }

    fn version(&self) -> (&'static str, &'static str) {
        ("/version", "version")
    }

    fn install(&self) -> &'static str {
        "install vLLM where servers.command finds it (uv pip install vllm), or give servers.urls"
    }

    fn raw_log_probs(&self) -> &'static str {
        "start vLLM with --logprobs-mode raw_logprobs"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(choice: Value) -> Result<Drawn, Trouble> {
        Vllm.read_sample(json!({"choices": [choice]}).to_string().as_bytes())
    }

    #[test]
    fn ids_are_read_from_every_generation_of_shapes() {
        for logprobs in [
            json!({"token_logprobs": [-1.0, -2.0], "tokens": ["token_id:7", "token_id:9"]}),
            json!({"content": [{"token": "token_id:7", "logprob": -1.0}, {"token": "token_id:9", "logprob": -2.0}]}),
            json!({"content": [{"token_id": 7, "logprob": -1.0}, {"token_id": 9, "logprob": -2.0}]}),
        ] {
            let drawn = read(json!({"finish_reason": "length", "logprobs": logprobs})).unwrap();
            assert_eq!((drawn.ids, drawn.logp), (vec![7, 9], vec![Some(-1.0), Some(-2.0)]));
        }
    }

    #[test]
    fn what_is_no_shape_is_refused_and_an_aborted_request_is_tried_again() {
        let logprobs = json!({"token_logprobs": [-1.0], "tokens": ["x"]});
        let final_ones = [
            (json!({"finish_reason": "stop", "logprobs": logprobs}), "no token_ids"),
            (json!({"finish_reason": "stop", "token_ids": [1]}), "no logprobs"),
            (json!({"finish_reason": "tool_calls", "token_ids": [1]}), "tool_calls"),
            (json!({"finish_reason": "stop", "token_ids": [-1]}), "not one of vLLM"),
        ];
        for (choice, expected) in final_ones {
            let trouble = read(choice).unwrap_err();
            assert!(matches!(&trouble, Trouble::Final(got) if got.contains(expected)), "{trouble:?}");
        }
        let aborted = read(json!({"finish_reason": "abort", "token_ids": [1]})).unwrap_err();
        assert!(matches!(aborted, Trouble::Passing(_)), "{aborted:?}");
    }
}
