//! SGLang: `/generate` with token ids. Written from its sources and documentation; nobody has run it yet.
//!
//! Differs in: `ignore_eos` makes it ignore the request's stop ids too. So it is sent where the model's end
//! ids are not among them, and what is drawn beyond a stop id is cut here. Rows are scored with one new
//! token, since some versions refuse none. Seeds count only under `--enable-deterministic-inference`. The
//! number of new tokens is checked before stops.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Call, Drawn, DrawnEnd, SEED_MASK, SampleAsk, ScoreAsk, parse, wrong};
use super::dialect::{Dialect, Launch, decimal, pairs, split_over_gpus};
use super::error::Trouble;

const PATH: &str = "/generate";

pub(super) struct Sglang;

/// One object; in a list where the request is one of a batch.
#[derive(Deserialize)]
#[serde(untagged)]
enum Response {
    One(Box<Generated>),
    Many(Vec<Generated>),
}

#[derive(Deserialize)]
struct Generated {
    output_ids: Option<Vec<u32>>,
    meta_info: Meta,
}

#[derive(Deserialize)]
struct Meta {
    finish_reason: Option<Finish>,
    output_token_logprobs: Option<Vec<TokenLogprob>>,
    input_token_logprobs: Option<Vec<TokenLogprob>>,
}

/// Two generations: an object, and formerly its type alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Finish {
    Object { r#type: String, message: Option<String> },
    Name(String),
}

/// Log-prob, id, text.
type TokenLogprob = (Option<f64>, u32, Value);

fn generated(body: &[u8]) -> Result<Generated, Trouble> {
    match parse(body, "SGLang")? {
        Response::One(one) => Ok(*one),
        Response::Many(mut many) if many.len() == 1 => Ok(many.remove(0)),
        Response::Many(many) => Err(wrong(format!("expected one completion, got {}", many.len()))),
    }
}

fn end(finish: Option<Finish>) -> Result<DrawnEnd, Trouble> {
    let (name, message) = match finish {
        Some(Finish::Object { r#type, message }) => (r#type, message.unwrap_or_default()),
        Some(Finish::Name(name)) => (name, String::new()),
        None => return Err(wrong("its response has no finish_reason")),
    };
    match name.as_str() {
        "stop" => Ok(DrawnEnd::Stop),
        "length" => Ok(DrawnEnd::Limit),
        "abort" => Err(Trouble::Passing(format!("it has aborted the request: {message}"))),
        other => Err(wrong(format!("expected \"stop\" or \"length\" as finish_reason, got {other:?}"))),
    }
}

impl Dialect for Sglang {
    fn name(&self) -> &'static str {
        "SGLang"
    }

    fn sample(&self, ask: &SampleAsk, _: &str) -> Call {
        let request = &ask.request;
        let top_k = if request.params.top_k == 0 { -1 } else { request.params.top_k as i64 };
        let body = json!({
            "input_ids": request.prompt,
            "sampling_params": {
                "n": 1,
                "sampling_seed": ask.seed() & SEED_MASK,
                "max_new_tokens": ask.limit,
                "min_new_tokens": 0,
                "temperature": decimal(request.params.temperature),
                "top_p": decimal(request.params.top_p),
                "top_k": top_k,
                "min_p": decimal(request.params.min_p),
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "stop": request.stop_texts.texts(),
                "stop_token_ids": request.stop_ids,
                "no_stop_trim": true,
                "ignore_eos": !ask.stops_at_end_ids,
                "skip_special_tokens": false,
                "spaces_between_special_tokens": false,
            },
            "return_logprob": true,
            "logprob_start_len": -1,
            "top_logprobs_num": 0,
            "return_text_in_logprobs": false,
            "stream": false,
        });
        Call { path: PATH, body, seed: Some(ask.seed()) }
    }

    fn read_sample(&self, body: &[u8]) -> Result<Drawn, Trouble> {
        let Generated { output_ids, meta_info } = generated(body)?;
        let end = end(meta_info.finish_reason)?;
        let of_output = meta_info
            .output_token_logprobs
            .ok_or_else(|| wrong("its response has no output_token_logprobs"))?;
        // Older versions give the ids beside the log-probs alone.
        let ids = output_ids.unwrap_or_else(|| of_output.iter().map(|(_, id, _)| *id).collect());
        let logp = of_output.into_iter().map(|(logp, _, _)| logp).collect();
        Ok(Drawn { ids, logp, end, prompt: None })
    }

    fn score(&self, ask: &ScoreAsk, _: &str) -> Call {
        let body = json!({
            "input_ids": ask.ids(),
            "sampling_params": {
                "n": 1, "max_new_tokens": 1, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
                "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                "ignore_eos": true,
            },
            "return_logprob": true,
            // The first one from here on is null: the response begins after it.
            "logprob_start_len": ask.row.prompt.len() - 1,
            "top_logprobs_num": 0,
            "return_text_in_logprobs": false,
            "stream": false,
        });
        Call { path: PATH, body, seed: None }
    }

    fn read_scores(&self, ask: &ScoreAsk, body: &[u8]) -> Result<Vec<Option<f64>>, Trouble> {
        let of_input = generated(body)?
            .meta_info
            .input_token_logprobs
            .ok_or_else(|| wrong("its response has no input_token_logprobs"))?;
        let response = &ask.row.response;
        if of_input.len() != response.len() + 1 {
            return Err(wrong(format!(
                "expected {} log-probs of input, got {}",
                response.len() + 1,
                of_input.len()
            )));
        }
        let of_response = response.iter().zip(of_input.into_iter().skip(1)).enumerate();
        of_response
            .map(|(at, (&expected, (logp, got, _)))| {
                if got == expected {
                    return Ok(logp);
                }
                Err(wrong(format!(
                    "token {at} of the row: expected the log-prob of {expected}, got that of {got}"
                )))
            })
            .collect()
    }

    fn default_command(&self) -> &'static [&'static str] {
        &["python3", "-m", "sglang.launch_server"]
    }

    fn own_arguments(&self, launch: &Launch<'_>) -> Vec<String> {
        pairs([
            ("--model-path", launch.model.display().to_string()),
            ("--served-model-name", launch.name.to_owned()),
            ("--port", launch.port.to_string()),
        ])
    }

    fn other_arguments(&self, launch: &Launch<'_>) -> Vec<(&'static str, String)> {
        let mut arguments = vec![
            ("--host", launch.host.to_owned()),
            ("--sampling-defaults", "openai".to_owned()),
            ("--context-length", launch.positions.to_string()),
            ("--dtype", launch.config.dtype.clone()),
        ];
        let others = ["--tensor-parallel-size", "--tp", "--pp-size", "--dp-size"];
        arguments.extend(split_over_gpus(launch.config, "--tp-size", &others));
        arguments
    }

    fn environment(&self) -> Vec<(String, Option<String>)> {
        // Log-probs before the temperature; the second is the name in older versions.
        ["SGLANG_RETURN_ORIGINAL_LOGPROB", "RETURN_ORIGINAL_LOGPROB"]
            .map(|name| (name.to_owned(), Some("1".to_owned())))
            .into()
    }

    fn version(&self) -> (&'static str, &'static str) {
        ("/get_server_info", "version")
    }

    fn install(&self) -> &'static str {
        "install SGLang where servers.command finds it (uv pip install 'sglang[all]'), or give servers.urls"
    }

    fn raw_log_probs(&self) -> &'static str {
        "start SGLang with SGLANG_RETURN_ORIGINAL_LOGPROB=1 in its environment"
    }
}
