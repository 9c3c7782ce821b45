//! What a sample must not depend on, whose log-probs it has, and from which distribution it comes.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{ADAPTERS, Tested, folder, on_each_device};
use latrace_core::random::stream;
use latrace_core::{SamplingParams, StopReason};
use latrace_kernels::{Cpu, Reference};
use latrace_lm::{Error, Model, Observer, Sample, SampleRequest, Sampler, SamplerOptions, ScoreRow, Scorer};

#[derive(Default)]
struct Collected(Vec<Sample>);

impl Observer for Collected {
    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.0.push(sample);
        Ok(())
    }
}

fn plain(max_new_tokens: usize) -> SamplingParams {
    SamplingParams::plain(max_new_tokens)
}

fn prompt(length: usize, seed: u32, vocabulary: usize) -> Vec<u32> {
    (0..length as u32).map(|i| (i * i + 7 * i + seed * 13) % vocabulary as u32).collect()
}

fn request(id: &str, prompt: Vec<u32>, samples: u64, params: SamplingParams) -> SampleRequest {
    SampleRequest {
        prompt,
        streams: (0..samples).map(|sample| stream(1, "test", id, sample)).collect(),
        params,
        stop_ids: vec![],
    }
}

/// All samples, by request and sample.
fn run<D: Tested>(
    model: Model<D>,
    options: SamplerOptions,
    requests: &[SampleRequest],
) -> (Vec<Sample>, Sampler<D>) {
    let mut sampler = Sampler::new(model, options);
    let mut collected = Collected::default();
    sampler.run(requests, &mut collected).unwrap();
    let mut samples = collected.0;
    samples.sort_by_key(|s| (s.request, s.sample));
    (samples, sampler)
}

fn score<D: Tested>(model: &Model<D>, requests: &[SampleRequest], samples: &[Sample]) -> Vec<Vec<f32>> {
    let rows: Vec<ScoreRow> = samples
        .iter()
        .map(|s| ScoreRow { prompt: requests[s.request].prompt.clone(), response: s.tokens.clone() })
        .collect();
    let mut all = Vec::new();
    let mut collect = |_, batch| {
        all.extend::<Vec<Vec<f32>>>(batch);
        Ok(())
    };
    Scorer::new(model).score(&rows, 300, &mut collect).unwrap();
    all
}

/// Settings of different needs, on prompts with a common head.
fn mixed_requests(vocabulary: usize) -> Vec<SampleRequest> {
    let head = prompt(70, 1, vocabulary);
    let with_head = |tail: usize, seed| [head.clone(), prompt(tail, seed, vocabulary)].concat();
    vec![
        request("a", with_head(3, 2), 3, plain(80)),
        request("b", with_head(65, 3), 2, SamplingParams { temperature: 0.7, top_p: 0.9, ..plain(20) }),
        request("c", prompt(1, 4, vocabulary), 2, SamplingParams { temperature: 0.0, ..plain(5) }),
        request("d", with_head(58, 5), 1, SamplingParams { top_k: 5, ..plain(30) }),
    ]
}

fn long_positions<D: Tested>(case: &str) -> Model<D> {
    let mut model = Model::load_on(D::DEVICE, &folder(case)).unwrap();
    model.config.max_positions = model.config.max_positions.max(5000);
    model
}

on_each_device!(
    log_probs_are_bitwise_the_scorers,
    shared_and_evicted_blocks_change_no_sample,
    samples_end_for_the_reason_they_say,
    what_cannot_be_sampled_is_refused
);

fn log_probs_are_bitwise_the_scorers<D: Tested>() {
    for case in D::SAMPLED.iter().chain(&ADAPTERS) {
        let model = long_positions::<D>(case);
        let requests = mixed_requests(model.config.vocab_size);
        let options = SamplerOptions { prefill_tokens: 37, ..SamplerOptions::default() };
        let (samples, _) = run(long_positions::<D>(case), options, &requests);
        assert_eq!(samples.len(), 8);
        let scores = score(&model, &requests, &samples);
        for (sample, expected) in samples.iter().zip(scores) {
            assert_eq!(sample.logp, expected, "{case}, request {}", sample.request);
        }
    }
}

fn shared_and_evicted_blocks_change_no_sample<D: Tested>() {
    let load = || long_positions::<D>("qwen3");
    let requests = mixed_requests(load().config.vocab_size);
    let (expected, sampler) = run(load(), SamplerOptions::default(), &requests);
    let tight = SamplerOptions { kv_cache_bytes: 3 * sampler.block_bytes(), ..SamplerOptions::default() };
    assert_eq!(run(load(), tight, &requests).0, expected);
}

/// The same prompts and streams: a token could differ only where its uniform number falls within rounding,
/// about 1e-6, of the end of a token's share. With some 300 draws that is unlikely, and the seed is fixed.
#[test]
fn every_device_draws_the_same_tokens() {
    for case in Reference::SAMPLED {
        let requests = mixed_requests(long_positions::<Cpu>(case).config.vocab_size);
        let (ours, _) = run(long_positions::<Cpu>(case), SamplerOptions::default(), &requests);
        let (exact, _) = run(long_positions::<Reference>(case), SamplerOptions::default(), &requests);
        for (sample, exact) in ours.iter().zip(&exact) {
            assert_eq!((&sample.tokens, sample.stop), (&exact.tokens, exact.stop), "{case}");
            let errors = sample.logp.iter().zip(&exact.logp).map(|(got, exact)| (got - exact).abs());
            let worst = errors.fold(0.0, f32::max);
            assert!(f64::from(worst) < Cpu::LOGP, "{case}: {worst} nats");
        }
    }
}

#[test]
fn log_probs_are_bitwise_the_scorers_over_4096_tokens() {
    for case in ["qwen3", "llama-bias"] {
        let model = long_positions::<Cpu>(case);
        let requests = [request("long", prompt(4000, 1, model.config.vocab_size), 2, plain(96))];
        let (samples, _) = run(long_positions::<Cpu>(case), SamplerOptions::default(), &requests);
        let scores = score(&model, &requests, &samples);
        assert_eq!(samples.iter().map(|s| s.logp.clone()).collect::<Vec<_>>(), scores);
    }
}

#[test]
fn samples_depend_on_nothing_but_their_request() {
    let load = || long_positions::<Cpu>("qwen3");
    let requests = mixed_requests(load().config.vocab_size);
    let (expected, sampler) = run(load(), SamplerOptions::default(), &requests);
    let block = sampler.block_bytes();
    let reversed: Vec<SampleRequest> = requests.iter().rev().cloned().collect();
    for options in [
        SamplerOptions { batch: 1, ..SamplerOptions::default() },
        SamplerOptions { batch: 2, prefill_tokens: 1, ..SamplerOptions::default() },
        SamplerOptions { prefill_tokens: 100, ..SamplerOptions::default() },
        // The least that one sample needs: requests wait for each other, and blocks are evicted.
        SamplerOptions { kv_cache_bytes: 3 * block, ..SamplerOptions::default() },
    ] {
        assert_eq!(run(load(), options, &requests).0, expected, "{options:?}");
        let (mut others, sampler) = run(load(), options, &reversed);
        others.iter_mut().for_each(|s| s.request = requests.len() - 1 - s.request);
        others.sort_by_key(|s| (s.request, s.sample));
        assert_eq!(others, expected, "{options:?}, in another order");
        assert!(sampler.peak_cache_bytes() <= options.kv_cache_bytes);
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(load(), SamplerOptions::default(), &requests).0), expected);
    }
    for (i, request) in requests.iter().enumerate() {
        let alone = run(load(), SamplerOptions::default(), std::slice::from_ref(request)).0;
        let same = alone
            .iter()
            .zip(expected.iter().filter(|s| s.request == i))
            .all(|(a, e)| (&a.tokens, &a.logp) == (&e.tokens, &e.logp));
        assert!(same, "request {i} alone");
    }
}

#[test]
fn prompts_and_their_heads_are_read_once() {
    let load = || long_positions::<Cpu>("qwen2");
    let head = prompt(640, 1, load().config.vocab_size);
    let with_tail = |seed| [head.clone(), prompt(10, seed, load().config.vocab_size)].concat();
    let (_, sampler) = run(load(), SamplerOptions::default(), &[request("a", with_tail(1), 8, plain(3))]);
    assert_eq!(sampler.prefilled(), 650, "8 samples read their prompt once");
    let (_, sampler) = run(
        load(),
        SamplerOptions::default(),
        &[request("a", with_tail(1), 2, plain(3)), request("b", with_tail(2), 2, plain(3))],
    );
    assert_eq!(sampler.prefilled(), 650 + 10, "a head in common is read once");
}

#[test]
fn one_token_of_a_prompt_that_fills_the_whole_cache_is_drawn() {
    let load = || long_positions::<Cpu>("qwen3");
    let requests = [
        request("a", prompt(64, 1, load().config.vocab_size), 3, plain(1)),
        request("b", prompt(64, 2, load().config.vocab_size), 2, plain(1)),
    ];
    let (expected, sampler) = run(load(), SamplerOptions::default(), &requests);
    assert_eq!(expected.len(), 5);
    let tight = SamplerOptions { kv_cache_bytes: sampler.block_bytes(), ..SamplerOptions::default() };
    assert_eq!(run(load(), tight, &requests).0, expected);
}

/// Counts the samples that have begun and not ended.
#[derive(Default)]
struct Concurrency {
    begun: std::collections::BTreeSet<(usize, usize)>,
    most: usize,
    samples: Vec<Sample>,
}

impl Observer for Concurrency {
    fn token(&mut self, request: usize, sample: usize, _: &[u32]) -> Option<StopReason> {
        self.begun.insert((request, sample));
        self.most = self.most.max(self.begun.len());
        None
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.begun.remove(&(sample.request, sample.sample));
        self.samples.push(sample);
        Ok(())
    }
}

#[test]
fn samples_that_give_their_blocks_back_go_on_as_if_nothing_had_been() {
    let load = || long_positions::<Cpu>("qwen3");
    let vocabulary = load().config.vocab_size;
    let requests: Vec<SampleRequest> = (0..5)
        .map(|i| request(&i.to_string(), prompt(50 + 9 * i as usize, i, vocabulary), 2, plain(160)))
        .collect();
    let (expected, sampler) = run(load(), SamplerOptions::default(), &requests);
    assert_eq!(sampler.preempted(), 0, "a roomy cache");
    // One sample may need 4 blocks.
    for (blocks, prefill_tokens) in [(4, 512), (5, 40), (9, 512), (13, 7)] {
        let options = SamplerOptions {
            kv_cache_bytes: blocks * sampler.block_bytes(),
            prefill_tokens,
            ..SamplerOptions::default()
        };
        let mut tight = Sampler::new(load(), options);
        let mut observer = Concurrency::default();
        tight.run(&requests, &mut observer).unwrap();
        observer.samples.sort_by_key(|s| (s.request, s.sample));
        assert!(observer.samples == expected, "{blocks} blocks");
        assert!(tight.preempted() > 0, "{blocks} blocks: samples were to give theirs back");
        assert!(tight.peak_cache_bytes() <= options.kv_cache_bytes);
        assert!(
            observer.most > blocks as usize / 4,
            "{blocks} blocks: no more samples at once than if each were to have all it may need"
        );
        // Reading again stays within what is drawn and what the prompts hold.
        assert!(tight.prefilled() < 3 * 1600, "{blocks} blocks: {} tokens read", tight.prefilled());
    }
}

#[test]
fn a_sampler_finds_what_an_earlier_run_has_read() {
    let load = || long_positions::<Cpu>("llama");
    let vocabulary = load().config.vocab_size;
    let mut sampler = Sampler::new(load(), SamplerOptions::default());
    let mut turn = |prompt: &[u32]| {
        let before = sampler.prefilled();
        let mut collected = Collected::default();
        sampler.run(&[request("turn", prompt.to_vec(), 1, plain(100))], &mut collected).unwrap();
        (collected.0.remove(0).tokens, sampler.prefilled() - before)
    };
    let first = prompt(200, 1, vocabulary);
    let (reply, read) = turn(&first);
    assert_eq!(read, 200);
    let second = [first, reply, prompt(50, 2, vocabulary)].concat();
    let (reply, read) = turn(&second);
    // All but the last of the reply's tokens have been read, 299; their full blocks are found.
    assert_eq!(read, 350 - 256);
    assert_eq!(
        run(load(), SamplerOptions::default(), &[request("turn", second, 1, plain(100))]).0[0].tokens,
        reply
    );
}

#[test]
fn a_run_that_fails_leaves_the_cache_whole() {
    struct Failing(usize);
    impl Observer for Failing {
        fn finished(&mut self, _: Sample) -> Result<(), Error> {
            self.0 -= 1;
            if self.0 == 0 { Err(Error::Invalid("enough".into())) } else { Ok(()) }
        }
    }
    let load = || long_positions::<Cpu>("qwen3");
    let requests = mixed_requests(load().config.vocab_size);
    let (expected, sampler) = run(load(), SamplerOptions::default(), &requests);
    let mut tight = Sampler::new(
        load(),
        SamplerOptions {
            kv_cache_bytes: 4 * sampler.block_bytes(),
            prefill_tokens: 30,
            ..SamplerOptions::default()
        },
    );
    for count in 1..8 {
        assert_eq!(tight.run(&requests, &mut Failing(count)).unwrap_err().to_string(), "enough");
    }
    let mut collected = Collected::default();
    tight.run(&requests, &mut collected).unwrap();
    collected.0.sort_by_key(|s| (s.request, s.sample));
    assert!(collected.0 == expected);
}

fn samples_end_for_the_reason_they_say<D: Tested>() {
    struct Stops(Vec<Sample>);
    impl Observer for Stops {
        fn token(&mut self, request: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
            (request == 1 && tokens.len() == 4).then_some(StopReason::StopString)
        }
        fn finished(&mut self, sample: Sample) -> Result<(), Error> {
            self.0.push(sample);
            Ok(())
        }
    }
    let load = || Model::load_on(D::DEVICE, &folder("qwen3")).unwrap();
    let unstopped = run(load(), SamplerOptions::default(), &[request("a", vec![1, 2], 1, plain(30))]).0;
    let end = unstopped[0].tokens[5];
    let first = unstopped[0].tokens.iter().position(|&t| t == end).unwrap();
    let requests = [
        SampleRequest { stop_ids: vec![end], ..request("a", vec![1, 2], 1, plain(30)) },
        request("a", vec![1, 2], 1, plain(30)),
        request("a", vec![1, 2], 1, plain(2)),
    ];
    let mut stops = Stops(Vec::new());
    Sampler::new(load(), SamplerOptions::default()).run(&requests, &mut stops).unwrap();
    stops.0.sort_by_key(|s| s.request);
    let ends: Vec<(StopReason, usize)> = stops.0.iter().map(|s| (s.stop, s.tokens.len())).collect();
    assert_eq!(ends, [(StopReason::End, first + 1), (StopReason::StopString, 4), (StopReason::MaxTokens, 2)]);
    assert!(stops.0.iter().all(|s| unstopped[0].tokens.starts_with(&s.tokens)));
    let positions = load().config.max_positions;
    let full =
        run(load(), SamplerOptions::default(), &[request("a", vec![3; positions - 2], 1, plain(30))]).0;
    assert_eq!(
        (full[0].stop, full[0].tokens.len()),
        (StopReason::MaxTokens, 2),
        "the model's positions are a limit too"
    );
}

fn what_cannot_be_sampled_is_refused<D: Tested>() {
    let check = |request: SampleRequest, options: SamplerOptions, expected: &str| {
        let mut sampler = Sampler::new(Model::load_on(D::DEVICE, &folder("qwen3")).unwrap(), options);
        let error = sampler.run(&[request], &mut Collected::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let default = SamplerOptions::default();
    check(request("a", vec![], 1, plain(3)), default, "the prompt has no tokens");
    check(request("a", vec![100_000], 1, plain(3)), default, "token 0: expected an id below");
    check(request("a", vec![1; 100_000], 1, plain(3)), default, "expected at most");
    check(
        request("a", vec![1], 1, SamplingParams { top_p: 0.0, ..plain(3) }),
        default,
        "top_p: expected a number above 0",
    );
    check(
        request("a", vec![1], 1, plain(30)),
        SamplerOptions { kv_cache_bytes: 1000, ..default },
        "bytes of keys and values, and the budget is 1000",
    );
}

/// 100,000 first tokens against the exact distribution.
fn check_distribution(params: SamplingParams) {
    let case = "qwen3";
    let model = Model::load(&folder(case)).unwrap();
    let vocabulary = model.config.vocab_size;
    let prompt = prompt(9, 1, vocabulary);
    let rows: Vec<SampleRequest> =
        (0..vocabulary as u32).map(|t| request("a", [prompt.clone(), vec![t]].concat(), 0, params)).collect();
    let ask = |t: usize| Sample {
        request: t,
        sample: 0,
        tokens: rows[t].prompt[9..].to_vec(),
        logp: vec![],
        stop: StopReason::End,
    };
    let single =
        vec![SampleRequest { prompt: prompt.clone(), streams: vec![], params, stop_ids: vec![] }; vocabulary];
    let logits: Vec<f64> = score(&model, &single, &(0..vocabulary).map(ask).collect::<Vec<_>>())
        .iter()
        .map(|l| f64::from(l[0]))
        .collect();
    let expected = latrace_kernels::draw_reference(
        &logits,
        params.temperature.into(),
        params.top_k,
        params.top_p.into(),
        params.min_p.into(),
    );
    let count = 100_000;
    let (samples, _) = run(
        model,
        SamplerOptions { batch: 4096, ..SamplerOptions::default() },
        &[request("draws", prompt, count, SamplingParams { max_new_tokens: 1, ..params })],
    );
    let mut seen = vec![0.0; vocabulary];
    samples.iter().for_each(|s| seen[s.tokens[0] as usize] += 1.0);
    let possible = expected.iter().filter(|p| **p > 0.0).count();
    assert!(
        seen.iter().zip(&expected).all(|(seen, p)| *p > 0.0 || *seen == 0.0),
        "a token outside the distribution was drawn"
    );
    let chi: f64 = seen
        .iter()
        .zip(&expected)
        .filter(|(_, p)| **p > 0.0)
        .map(|(seen, p)| (seen - p * count as f64).powi(2) / (p * count as f64))
        .sum();
    let freedom = (possible - 1) as f64;
    // Wilson and Hilferty: the cube root is close to normal; beyond 4 standard deviations once in 30,000
    // tries. The seed is fixed.
    let deviations =
        ((chi / freedom).cbrt() - (1.0 - 2.0 / (9.0 * freedom))) / (2.0 / (9.0 * freedom)).sqrt();
    assert!(deviations.abs() < 4.0, "{params:?}: chi-square {chi:.1} of {freedom} degrees of freedom");
}

#[test]
fn first_tokens_follow_the_exact_distribution() {
    check_distribution(plain(1));
    check_distribution(SamplingParams { temperature: 0.7, ..plain(1) });
    check_distribution(SamplingParams { top_p: 0.8, ..plain(1) });
    check_distribution(SamplingParams { top_k: 7, ..plain(1) });
    check_distribution(SamplingParams { temperature: 0.7, top_k: 20, top_p: 0.9, min_p: 0.01, ..plain(1) });
}
