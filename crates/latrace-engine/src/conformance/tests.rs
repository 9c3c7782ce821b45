//! The suite of every engine, over the built-in one and the one without a model.

use std::fs;
use std::path::Path;

use latrace_core::{Markers, StopReason, Tokenizer};
use serde_json::{Value, json};

use super::{Subject, all, completions_that_cannot_be_right_are_refused, unstopped};
use crate::boundary::{Completion, Engine, EngineRole, ModelShape, Request, ScoreRow, StopTexts};
use crate::cpu::{Compute, CpuEngine, CpuOptions, SaveDtype, save_random};
use crate::random::Random;
use crate::sampling::generate_all;
use crate::scoring::score_all;
use crate::text_codec::TextCodec;
use crate::trace_codec::TraceCodec;

/// A tiny random model, with a tokenizer of words and letters.
pub fn model() -> tempfile::TempDir {
    model_of(3)
}

/// As [`model`], with weights of another seed.
pub fn model_of(seed: u64) -> tempfile::TempDir {
    model_with(&[], seed)
}

/// As [`model`], with texts that are one token each.
fn model_with(specials: &[&str], seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(specials);
    let vocabulary = Tokenizer::from_bytes(tokenizer.as_bytes()).unwrap().vocabulary_size();
    fs::write(folder.path().join("config.json"), config(vocabulary).to_string()).unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    save_random(folder.path(), seed, SaveDtype::F32, folder.path()).unwrap();
    folder
}

fn tokenizer(specials: &[&str]) -> String {
    let texts = ["the cat sat on the mat", "a walk from one to two", "seven times eight is fifty six"];
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    Tokenizer::train(&owned(&texts), 300, &owned(specials)).unwrap()
}

fn config(vocabulary: usize) -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 24,
        "vocab_size": vocabulary, "max_position_embeddings": 96, "eos_token_id": 0,
        // Wide weights: otherwise all tokens are nearly as likely, and nothing depends on the prompt.
        "initializer_range": 0.5,
    })
}

fn random() -> Random {
    let shape = ModelShape { vocabulary_size: 100, positions: 200, end_ids: vec![0] };
    Random { shape, ids: 10..100, length: 12, closing_id: 5, answers: Vec::new() }
}

/// The whole suite, of an engine whose log-probs of sampling are exactly those of scoring.
fn all_of_exact(engine: &dyn Engine, model: &Path) {
    all(&Subject { engine, model, tolerance: 0.0 });
    completions_that_cannot_be_right_are_refused(engine, model);
}

#[test]
fn the_cpu_does_what_every_engine_must() {
    all_of_exact(&CpuEngine::default(), model().path());
}

#[test]
fn the_cpu_in_bf16_does_what_every_engine_must() {
    let (model, engine) = (model(), CpuEngine { compute: Compute::Bf16, ..CpuEngine::default() });
    all_of_exact(&engine, model.path());
    // And is not the engine in f32.
    let rows = vec![ScoreRow { prompt: vec![1, 2, 3], response: vec![4, 5, 6, 7] }];
    let score = |engine: CpuEngine| {
        score_all(&mut *engine.scorer(model.path()).unwrap(), rows.clone()).unwrap().concat()
    };
    let (narrow, wide) = (score(engine), score(CpuEngine::default()));
    let largest = narrow.iter().zip(&wide).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Each of a token's two layers rounds its weights and activations by up to 1 part in 256.
    assert!((1e-5..0.2).contains(&largest), "{largest} nats");
    assert_ne!(engine.identity(EngineRole::Score), CpuEngine::default().identity(EngineRole::Score));
}

#[test]
fn memory_and_speed_of_the_cpu_change_nothing() {
    let model = model();
    let narrow = CpuOptions { kv_cache_bytes: Some(1 << 20), batch: 1, prefill_tokens: 3, score_tokens: 5 };
    let engine = CpuEngine::new(narrow);
    // A window of requests is then smaller than the suite's: they are taken in several. Prompts and rows, too,
    // are longer than a pass may be.
    all(&Subject { engine: &engine, model: model.path(), tolerance: 0.0 });
    let requests: Vec<Request> = (0..40).map(|number| request(&[number % 7, 3], 4, number.into())).collect();
    let one_by_one = generate_all(&mut *engine.generator(model.path()).unwrap(), requests.clone()).unwrap();
    let together =
        generate_all(&mut *CpuEngine::default().generator(model.path()).unwrap(), requests).unwrap();
    assert_eq!(one_by_one, together);
}

#[test]
fn random_does_what_every_engine_must() {
    all_of_exact(&random(), Path::new("none"));
}

/// An engine with two answers.
fn answering() -> Random {
    Random { answers: vec![vec![20], vec![30, 31]], ..random() }
}

/// The samples that an engine without a model draws of a request.
fn drawn(engine: &Random, request: Request) -> Vec<Completion> {
    let mut generator = engine.generator(Path::new("none")).unwrap();
    generate_all(&mut *generator, vec![request]).unwrap().remove(0)
}

fn request(prompt: &[u32], limit: usize, seed: u64) -> Request {
    unstopped(prompt.to_vec(), vec![seed], limit)
}

#[test]
fn random_closes_every_sample_at_its_length() {
    let trace = Request { stop_ids: vec![0, 5], seeds: (0..50).collect(), ..request(&[1], 100, 0) };
    for sample in drawn(&answering(), trace) {
        assert_eq!((sample.ids.len(), sample.ids.last(), sample.stop), (12, Some(&5), StopReason::End));
        assert!(sample.ids[..11].iter().all(|id| (10..100).contains(id)), "{sample:?}");
    }
}

#[test]
fn random_answers_after_the_closing_id() {
    let answer = Request { stop_ids: vec![0], seeds: (0..400).collect(), ..request(&[1, 5, 2], 100, 0) };
    let samples = drawn(&answering(), answer);
    let count = |ids: &[u32]| samples.iter().filter(|sample| sample.ids == ids).count();
    let (first, second) = (count(&[20, 0]), count(&[30, 31, 0]));
    assert_eq!(first + second, 400);
    // 400 fair draws have a standard deviation of 10.
    assert!((150..250).contains(&first), "{first}");
}

#[test]
fn random_draws_all_of_its_ids_about_equally_often() {
    let all = Request { seeds: (0..1000).collect(), ..request(&[1], 90, 0) };
    let samples = drawn(&random(), all);
    let mut counts = [0_u32; 100];
    samples.iter().flat_map(|sample| &sample.ids).for_each(|&id| counts[id as usize] += 1);
    assert!(counts[..5].iter().chain(&counts[6..10]).all(|&count| count == 0));
    // 89,000 draws of 90 ids: 989 of each, with a standard deviation of 31.
    assert!(counts[10..].iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    assert_eq!(counts[5], 1000, "the closing id stands at its place, whether it ends the sample or not");
}

#[test]
fn random_scores_differ_by_token_and_are_spread() {
    let mut scorer = random().scorer(Path::new("none")).unwrap();
    let row = ScoreRow { prompt: vec![1], response: (0..100).collect() };
    let scores = score_all(&mut *scorer, vec![row]).unwrap().remove(0);
    assert!(scores.iter().all(|score| (-4.0..=0.0).contains(score)));
    let mean = scores.iter().sum::<f32>() / 100.0;
    // The mean of 100 uniform numbers on [-4, 0] has a standard deviation of 0.12.
    assert!((mean + 2.0).abs() < 0.5, "{mean}");
}

#[test]
fn random_ids_do_not_repeat_with_any_small_lag() {
    let all = Request { seeds: (0..100).collect(), ..request(&[1], 90, 0) };
    let samples = drawn(&random(), all);
    for lag in 1..=8 {
        let equal = |ids: &[u32]| ids.iter().zip(&ids[lag..]).filter(|(a, b)| a == b).count();
        let equal: usize = samples.iter().map(|sample| equal(&sample.ids)).sum();
        // Of about 8,500 pairs, one in 90 is equal: 95, with a standard deviation of 10.
        assert!((45..145).contains(&equal), "lag {lag}: {equal}");
    }
}

#[test]
fn a_stop_text_is_found_across_tokens_and_only_where_it_is() {
    let model = model();
    let shape = ModelShape::read(model.path()).unwrap();
    let text = TextCodec::open(model.path(), &shape).unwrap();
    let ids = text.encode("text", "a walk from the cat sat on the mat").unwrap();
    let stops = StopTexts::new(vec!["from the cat sat on".to_owned()]);
    let first = (1..=ids.len()).find(|&tokens| stops.found(&ids[..tokens], &text)).unwrap();
    assert!(text.decode(&ids[..first]).unwrap().contains("sat on"));
    let asked = Request { stop_texts: stops, ..request(&[1], 50, 0) };
    let of = |tokens: usize| Completion {
        ids: ids[..tokens].to_vec(),
        logp: vec![-1.0; tokens],
        stop: StopReason::StopString,
    };
    assert_eq!(of(first).check(&asked, &shape, Some(&text)), Ok(()));
    let early = of(first - 1).check(&asked, &shape, Some(&text)).unwrap_err();
    assert!(early.contains("stop text"), "{early}");
}

#[test]
fn a_trace_codec_cuts_and_joins_on_ids() {
    let model = model();
    let markers = Markers::named("think").unwrap();
    let codec = TraceCodec::open(model.path(), markers.clone()).unwrap();
    let trace = codec.trace_ids("the cat").unwrap();
    assert_eq!(codec.boundary(&trace), Some(trace.len()));
    assert_eq!(codec.boundary(&trace[..trace.len() - 1]), None);
    let answer = codec.answer_ids("two").unwrap();
    let all = [trace.as_slice(), &answer].concat();
    assert_eq!(codec.boundary(&all), Some(trace.len()));
    assert_eq!(codec.answer_text(&answer), "two");
    assert_eq!((answer.last(), answer.starts_with(&codec.answer_prefix)), (Some(&0), true));
    assert!(codec.trace_ids("the </think> cat").is_err());
    let is_one_token = codec.encode(&markers.cut).unwrap().len() == 1;
    assert_eq!(codec.trace_stops().is_empty(), is_one_token);
    assert_eq!(codec.trace_end_ids().len(), 1 + usize::from(is_one_token));
}

#[test]
fn a_trace_codec_ends_with_the_token_of_a_special_cut() {
    let model = model_with(&["</think>"], 3);
    let codec = TraceCodec::open(model.path(), Markers::named("think").unwrap()).unwrap();
    let trace = codec.trace_ids("the cat").unwrap();
    assert_eq!(codec.boundary(&[trace.as_slice(), &[1, 2]].concat()), Some(trace.len()));
    assert!(codec.trace_stops().is_empty(), "the cut is one token");
    assert_eq!(codec.trace_end_ids(), [0, trace[trace.len() - 1]]);
}
