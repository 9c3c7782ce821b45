//! The engine over fake servers in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use latrace_core::SamplingParams;

use super::testing::{FakeOptions, FakeServer, Fault, fault_at, fault_from, random_faults};
use super::{ServerError, ServerKind, ServersConfig, ServersEngine};
use crate::boundary::{Completion, Engine, Error, GenerateClient, Request, ScoreRow, StopTexts};
use crate::conformance::{self, Subject, tiny_model};
use crate::cpu::CpuEngine;
use crate::sampling::generate_all;
use crate::scoring::score_all;

/// The probe of a server with small weights in f32: three rows, two samples, and the scores of these.
const PROBE: u64 = 7;

fn fake(model: &Path, options: FakeOptions) -> FakeServer {
    FakeServer::start(Box::new(CpuEngine::default()), model, options).unwrap()
}

fn config(servers: &[&FakeServer]) -> ServersConfig {
    ServersConfig {
        urls: servers.iter().map(|server| server.url().to_owned()).collect(),
        dtype: "float32".to_owned(),
        in_flight: 8,
        start_timeout: 10,
        request_timeout: 10,
        ..ServersConfig::default()
    }
}

fn engine(config: ServersConfig) -> ServersEngine {
    ServersEngine::new(config, Path::new("unused")).unwrap()
}

fn of_kind(kind: ServerKind, is_old: bool) -> FakeOptions {
    FakeOptions { kind, is_old, ..FakeOptions::default() }
}

/// Requests of all kinds: several prompts and samples, truncated distributions, stop ids and texts.
fn requests(model: &Path) -> Vec<Request> {
    let text = CpuEngine::default().generator(model).unwrap().text().unwrap();
    let plain = SamplingParams::plain(12);
    let hot = SamplingParams { temperature: 0.7, top_p: 0.9, top_k: 7, min_p: 0.02, max_new_tokens: 20 };
    let request = |number: u64| Request {
        prompt: (0..3 + number % 5).map(|at| ((number * 7 + at * 3) % 90) as u32).collect(),
        // The last does not fit a signed number.
        seeds: vec![number, number + 1000, u64::MAX - number],
        params: if number.is_multiple_of(2) { plain } else { hot },
        stop_ids: if number.is_multiple_of(3) { vec![0, 17, 40] } else { vec![] },
        stop_texts: match number % 4 {
            1 => StopTexts::new(vec![text.decode(&[45]).unwrap(), text.decode(&[60]).unwrap()]),
            _ => StopTexts::default(),
        },
    };
    (0..24).map(request).collect()
}

fn rows(requests: &[Request], samples: &[Vec<Completion>]) -> Vec<ScoreRow> {
    let of = |(request, samples): (&Request, &Vec<Completion>)| {
        let row =
            |sample: &Completion| ScoreRow { prompt: request.prompt.clone(), response: sample.ids.clone() };
        samples.iter().map(row).collect::<Vec<_>>()
    };
    requests.iter().zip(samples).flat_map(of).collect()
}

/// Samples by request, and scores of them all.
type Results = (Vec<Vec<Completion>>, Vec<Vec<f32>>);

/// What the built-in engine gives.
fn expected(model: &Path) -> Results {
    let cpu = CpuEngine::default();
    let requests = requests(model);
    let samples = generate_all(&mut *cpu.generator(model).unwrap(), requests.clone()).unwrap();
    let scores = score_all(&mut *cpu.scorer(model).unwrap(), rows(&requests, &samples)).unwrap();
    (samples, scores)
}

/// What servers give.
fn got(engine: &ServersEngine, model: &Path) -> Result<Results> {
    let requests = requests(model);
    let samples = generate_all(&mut *engine.generator(model)?, requests.clone())?;
    let scores = score_all(&mut *engine.scorer(model)?, rows(&requests, &samples))?;
    Ok((samples, scores))
}

#[test]
fn both_kinds_and_generations_do_what_every_engine_must() {
    let model = tiny_model();
    for kind in [ServerKind::Vllm, ServerKind::Sglang] {
        for is_old in [false, true] {
            let server = fake(model.path(), of_kind(kind, is_old));
            let engine = engine(ServersConfig { kind, ..config(&[&server]) });
            // The suite takes an engine that is not exact to have a tolerance; the test below allows none.
            conformance::all(&Subject { engine: &engine, model: model.path(), tolerance: f32::MIN_POSITIVE });
            conformance::completions_that_cannot_be_right_are_refused(&engine, model.path());
        }
    }
}

#[test]
fn samples_and_scores_are_those_of_the_built_in_engine_to_the_bit() {
    let model = tiny_model();
    let expected = expected(model.path());
    let stops: Vec<_> = expected.0.iter().flatten().map(|sample| sample.stop.name()).collect();
    for stop in ["end", "stop_string", "max_tokens"] {
        assert!(stops.contains(&stop), "{stop} is not tested");
    }
    for kind in [ServerKind::Vllm, ServerKind::Sglang] {
        for is_old in [false, true] {
            let servers = [(); 2].map(|()| fake(model.path(), of_kind(kind, is_old)));
            let engine = engine(ServersConfig { kind, ..config(&[&servers[0], &servers[1]]) });
            assert_eq!(got(&engine, model.path()).unwrap(), expected, "{kind:?}, {is_old}");
        }
    }
}

/// An error's whole chain.
fn text(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[test]
fn faults_that_pass_change_no_bit() {
    let model = tiny_model();
    let expected = expected(model.path());
    for kind in [ServerKind::Vllm, ServerKind::Sglang] {
        for fault in Fault::PASSING {
            let faults = fault_at(fault, [PROBE + 3, PROBE + 20]);
            let servers = [(); 2]
                .map(|()| fake(model.path(), FakeOptions { faults: faults.clone(), ..of_kind(kind, false) }));
            let engine =
                engine(ServersConfig { kind, request_timeout: 1, ..config(&[&servers[0], &servers[1]]) });
            assert_eq!(got(&engine, model.path()).unwrap(), expected, "{kind:?}, {fault:?}");
        }
    }
}

#[test]
fn two_hundred_random_faults_change_no_bit() {
    let model = tiny_model();
    let expected = expected(model.path());
    let mut faults = 0;
    for seed in 0.. {
        // A fifth of all requests fail: two failures in a row are common, nine are not.
        let options =
            FakeOptions { faults: random_faults(seed, 0.2, &Fault::PASSING), ..FakeOptions::default() };
        let servers = [(); 2].map(|()| fake(model.path(), options.clone()));
        let limits = ServersConfig { request_timeout: 1, retries: 8, ..config(&[&servers[0], &servers[1]]) };
        assert_eq!(got(&engine(limits), model.path()).unwrap(), expected, "seed {seed}");
        let requests: u64 = servers.iter().map(FakeServer::requests).sum();
        // What is not one of the fewest possible requests follows a fault.
        faults += requests - 2 * 72 - 4 * PROBE;
        if faults >= 200 {
            return;
        }
    }
}

#[track_caller]
fn check_refusal(kind: ServerKind, fault: Fault, expected: &str) {
    let model = tiny_model();
    let options = FakeOptions { faults: fault_from(fault, PROBE), ..of_kind(kind, false) };
    let server = fake(model.path(), options);
    let engine = engine(ServersConfig { kind, in_flight: 1, ..config(&[&server]) });
    let request = Request { seeds: vec![1], ..requests(model.path()).remove(2) };
    let error = generate_all(&mut *engine.generator(model.path()).unwrap(), vec![request]).unwrap_err();
    let error = text(&error);
    assert!(error.contains(expected) && error.contains("row \"0\""), "{kind:?}, {fault:?}: {error}");
    assert!(error.contains(server.url()), "{error}");
    // A final error costs no further attempt.
    assert_eq!(server.requests(), PROBE + 1, "{fault:?}");
}

#[test]
fn faults_that_do_not_pass_are_errors_that_name_the_row() {
    for kind in [ServerKind::Vllm, ServerKind::Sglang] {
        check_refusal(kind, Fault::NotFound, "status 404: The model `other` does not exist");
        check_refusal(kind, Fault::NotANumber, "not a finite number");
        check_refusal(kind, Fault::Clamped, "-9999, which stands for minus infinity");
        check_refusal(kind, Fault::Shortened, "it has cut a sample after 6 of 12 tokens");
    }
    check_refusal(ServerKind::Vllm, Fault::NoTokenIds, "no token_ids");
    check_refusal(ServerKind::Sglang, Fault::NoTokenIds, "no output_token_logprobs");
    check_refusal(ServerKind::Vllm, Fault::OtherPrompt, "another prompt");
}

#[test]
fn a_request_is_tried_as_often_as_the_settings_say() {
    let model = tiny_model();
    let server = fake(
        model.path(),
        FakeOptions { faults: fault_from(Fault::Status500, PROBE), ..FakeOptions::default() },
    );
    let engine = engine(ServersConfig { in_flight: 1, retries: 2, ..config(&[&server]) });
    let mut generator = engine.generator(model.path()).unwrap();
    let request = Request { seeds: vec![1], ..requests(model.path()).remove(2) };
    let error = text(&generate_all(&mut *generator, vec![request]).unwrap_err());
    assert!(
        error.contains("row \"0\"") && error.contains("status 500: the engine has failed (3 attempts)"),
        "{error}"
    );
    assert_eq!(server.requests(), PROBE + 3);
    assert!(
        generator.remarks().contains("3 requests to 1 servers (vLLM); 2 retries"),
        "{}",
        generator.remarks()
    );
}

/// The error of a generator that cannot be made.
fn refused(engine: &ServersEngine, model: &Path) -> String {
    match engine.generator(model) {
        Ok(_) => panic!("the servers should have been refused"),
        Err(error) => text(&error),
    }
}

#[test]
fn the_probe_refuses_processed_log_probs() {
    let model = tiny_model();
    for kind in [ServerKind::Vllm, ServerKind::Sglang] {
        let options = FakeOptions { faults: fault_from(Fault::Processed, 0), ..of_kind(kind, false) };
        let server = fake(model.path(), options);
        for dtype in ["float32", "auto"] {
            let engine = engine(ServersConfig { kind, dtype: dtype.to_owned(), ..config(&[&server]) });
            let error = engine.generator(model.path()).err().unwrap();
            assert!(text(&error).contains("those after temperature and truncation"), "{error:#}");
            let hint = crate::hint_of(error.downcast_ref::<ServerError>().unwrap()).unwrap();
            assert!(hint.contains(["raw_logprobs", "RETURN_ORIGINAL_LOGPROB"][kind as usize]), "{hint}");
        }
    }
}

#[test]
fn the_probe_refuses_other_weights_under_the_right_name() {
    let (model, other) = (tiny_model(), conformance::tiny_model_of(4));
    let name = Some(super::served_name(model.path()).unwrap());
    let right = fake(model.path(), FakeOptions::default());
    let wrong = fake(other.path(), FakeOptions { name, ..FakeOptions::default() });
    for dtype in ["float32", "bfloat16", "auto"] {
        let of = |servers: &[&FakeServer]| ServersConfig { dtype: dtype.to_owned(), ..config(servers) };
        let error = refused(&engine(of(&[&right, &wrong])), model.path());
        assert!(
            error.contains(wrong.url()) && error.contains("differ from those of the built-in engine"),
            "{dtype}: {error}"
        );
        // Alone, it has no other server to differ from.
        let error = refused(&engine(of(&[&wrong])), model.path());
        assert!(error.contains("differ from those of the built-in engine"), "{dtype}: {error}");
    }
}

#[test]
fn the_probe_refuses_a_server_whose_log_probs_are_made_up() {
    let model = tiny_model();
    let server =
        fake(model.path(), FakeOptions { faults: fault_from(Fault::Constant, 0), ..FakeOptions::default() });
    for dtype in ["float32", "bfloat16", "auto"] {
        let config = ServersConfig { dtype: dtype.to_owned(), ..config(&[&server]) };
        let Err(error) = engine(config).scorer(model.path()) else { panic!("{dtype}: it should be refused") };
        assert!(text(&error).contains("its weights are not those of"), "{dtype}: {error:#}");
    }
}

#[test]
fn servers_of_a_model_that_is_too_large_are_compared_with_each_other() {
    let (model, other) = (tiny_model(), conformance::tiny_model_of(4));
    // Bytes that no tensor has count as weights, and are read by nobody.
    for folder in [&model, &other] {
        let padding = std::fs::File::create(folder.path().join("padding.safetensors")).unwrap();
        padding.set_len(900_000_000).unwrap();
    }
    let name = Some(super::served_name(model.path()).unwrap());
    let right = fake(model.path(), FakeOptions::default());
    let wrong = fake(other.path(), FakeOptions { name, ..FakeOptions::default() });
    let of = |servers: &[&FakeServer]| engine(ServersConfig { dtype: "auto".to_owned(), ..config(servers) });
    let error = refused(&of(&[&right, &wrong]), model.path());
    assert!(
        error.contains(wrong.url()) && error.contains(&format!("those of server {}", right.url())),
        "{error}"
    );
    assert!(of(&[&wrong]).generator(model.path()).is_ok(), "nothing tells it from the right one");
}

#[test]
fn a_server_of_another_model_is_waited_for_and_then_refused() {
    let (model, other) = (tiny_model(), conformance::tiny_model_of(4));
    let server = fake(other.path(), FakeOptions::default());
    let started = Instant::now();
    let error = refused(&engine(ServersConfig { start_timeout: 1, ..config(&[&server]) }), model.path());
    let name = super::served_name(model.path()).unwrap();
    assert!(
        error.contains(&format!("expected it to serve {}", model.path().canonicalize().unwrap().display())),
        "{error}"
    );
    assert!(error.contains(&format!("under the name {name}: vllm serve ")), "{error}");
    for argument in [
        format!("--served-model-name {name}"),
        format!("--port {}", server.url().rsplit(':').next().unwrap()),
        "--host 127.0.0.1 --generation-config vllm --max-model-len 96 --logprobs-mode raw_logprobs \
         --max-num-batched-tokens 2048 --dtype float32"
            .to_owned(),
    ] {
        assert!(error.contains(&argument), "{argument}: {error}");
    }
    assert!(error.contains("within 1 s"), "{error}");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_slow_start_is_waited_for() {
    let model = tiny_model();
    let options = FakeOptions { ready_after: Duration::from_millis(700), ..FakeOptions::default() };
    let server = fake(model.path(), options);
    let requests = requests(model.path());
    let samples = generate_all(&mut *engine(config(&[&server])).generator(model.path()).unwrap(), requests);
    assert_eq!(samples.unwrap(), expected(model.path()).0);
}

#[test]
fn what_a_server_has_no_room_for_is_refused_before_it_is_sent() {
    let model = tiny_model();
    let server = fake(model.path(), FakeOptions { max_model_len: Some(50), ..FakeOptions::default() });
    let engine = engine(config(&[&server]));
    let long = Request { params: SamplingParams::plain(48), ..requests(model.path()).remove(0) };
    let error = generate_all(&mut *engine.generator(model.path()).unwrap(), vec![long.clone()]).unwrap_err();
    assert!(
        error.to_string().contains("row \"0\": 3 tokens and 48 new ones are 51, and the server takes 50"),
        "{error}"
    );
    let row = ScoreRow { prompt: vec![1; 20], response: vec![2; 30] };
    let error = score_all(&mut *engine.scorer(model.path()).unwrap(), vec![row]).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Request { row, .. }) if row == "0"), "{error}");
}

#[test]
fn a_server_that_dies_is_replaced_by_the_others_and_comes_back() {
    let model = tiny_model();
    let expected = expected(model.path());
    let dying = FakeOptions { faults: fault_at(Fault::Die, [PROBE + 5]), ..FakeOptions::default() };
    let (dying, other) = (fake(model.path(), dying), fake(model.path(), FakeOptions::default()));
    let engine = engine(config(&[&dying, &other]));
    let mut generator = engine.generator(model.path()).unwrap();
    let samples = generate_all(&mut *generator, requests(model.path())).unwrap();
    assert_eq!(samples, expected.0);
    // A server that is back before the second look was never away.
    std::thread::sleep(Duration::from_millis(1500));
    dying.revive();
    let limit = Instant::now() + Duration::from_secs(20);
    while !generator.remarks().contains("1 restarts") {
        assert!(Instant::now() < limit, "{}", generator.remarks());
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = dying.requests();
    assert_eq!(generate_all(&mut *generator, requests(model.path())).unwrap(), expected.0);
    assert!(dying.requests() > before, "it gets requests again");
}

#[test]
fn without_any_server_left_the_reason_is_told() {
    let model = tiny_model();
    let server =
        fake(model.path(), FakeOptions { faults: fault_at(Fault::Die, [PROBE]), ..FakeOptions::default() });
    let engine = engine(ServersConfig { start_timeout: 1, retries: 100, ..config(&[&server]) });
    let mut generator = engine.generator(model.path()).unwrap();
    let error = text(&generate_all(&mut *generator, requests(model.path())).unwrap_err());
    assert!(error.contains("it is not healthy") && error.contains("not ready within 1 s"), "{error}");
}

/// Fails at its first sample.
struct Failing(std::vec::IntoIter<Request>);

impl GenerateClient for Failing {
    fn next_request(&mut self) -> Result<Option<Request>> {
        Ok(self.0.next())
    }

    fn finished(&mut self, _: usize, _: usize, _: Completion) -> Result<()> {
        bail!("the disk is full")
    }
}

#[test]
fn an_error_of_the_client_interrupts_what_is_in_progress() {
    let model = tiny_model();
    // All but one request hang; none of them times out.
    let faults = Arc::new(|request| (request > PROBE).then_some(Fault::Hang));
    let server = fake(model.path(), FakeOptions { faults, ..FakeOptions::default() });
    let engine = engine(ServersConfig { request_timeout: 600, ..config(&[&server]) });
    let mut generator = engine.generator(model.path()).unwrap();
    let started = Instant::now();
    let error = generator.generate(&mut Failing(requests(model.path()).into_iter())).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    while server.active() > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "{} requests are in progress", server.active());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(generator);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_key_is_sent_and_a_wrong_one_is_refused_without_being_quoted() {
    let model = tiny_model();
    let server = fake(model.path(), FakeOptions { key: Some("sesame".to_owned()), ..FakeOptions::default() });
    let with_key = |key: &str| ServersEngine { key: Some(key.to_owned()), ..engine(config(&[&server])) };
    assert_eq!(got(&with_key("sesame"), model.path()).unwrap(), expected(model.path()));
    let error = refused(&with_key("open-barley"), model.path());
    assert!(error.contains("status 401") && error.contains("LATRACE_SERVER_KEY"), "{error}");
    assert!(
        !error.contains("open-barley") && !format!("{:?}", with_key("open-barley")).contains("open-barley")
    );
}

#[test]
fn work_is_spread_evenly_and_prompts_stay_together() {
    let folder = tiny_model();
    let options = FakeOptions { token_time: Duration::from_millis(2), ..FakeOptions::default() };
    let servers = [(); 2].map(|()| fake(folder.path(), options.clone()));
    let engine = engine(ServersConfig { in_flight: 16, ..config(&[&servers[0], &servers[1]]) });
    let request = |number: u32| Request {
        prompt: vec![number % 90, 1, 2],
        seeds: (0..4).collect(),
        params: SamplingParams::plain(10),
        stop_ids: Vec::new(),
        stop_texts: StopTexts::default(),
    };
    generate_all(&mut *engine.generator(folder.path()).unwrap(), (0..80).map(request).collect()).unwrap();
    let of = servers.each_ref().map(|server| server.requests() - PROBE);
    assert!(of.iter().all(|of| (140..=180).contains(of)), "{of:?}");
    let split = (0..80)
        .filter(|number| servers.iter().all(|server| server.prompts()[2..].contains(&vec![*number, 1, 2])))
        .count();
    assert!(split <= 16, "{split} of 80 prompts were drawn from by both servers");
    assert!(servers.iter().all(|server| server.most_active() <= 16));
}

#[test]
fn servers_do_not_train() {
    let error = engine(ServersConfig::default()).trainer().err().unwrap();
    assert_eq!(error.to_string(), "the engine \"vllm\" does not train");
}
