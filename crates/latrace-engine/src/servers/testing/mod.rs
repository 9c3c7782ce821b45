//! A fake server for tests and benchmarks: the HTTP of vLLM and SGLang over another engine, on threads of
//! this process, with faults on demand.
//!
//! It heeds what the real ones heed: a parameter that a request leaves out has the default of a model's
//! `generation_config.json`, and lengths beyond `max_model_len` are cut without a word.

mod faults;
mod shapes;

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use faults::{Fault, Faults, fault_at, fault_from, faultless, random_faults};

use super::http::SEED_HEADER;
use super::{ServerKind, served_name};
use crate::boundary::{Completion, Engine, Generate, ModelShape, Request, Score, ScoreRow};
use crate::sampling::generate_all;
use crate::scoring::score_all;

/// How a fake server behaves.
#[derive(Clone)]
pub struct FakeOptions {
    /// Whose HTTP it speaks.
    pub kind: ServerKind,
    /// Whether it speaks the older of two generations of shapes.
    pub is_old: bool,
    /// The name of its model; that of the model folder if there is none.
    pub name: Option<String>,
    /// Most tokens of prompt and response; those of the model if there is none.
    pub max_model_len: Option<usize>,
    /// What goes wrong.
    pub faults: Faults,
    /// How long a token takes.
    pub token_time: Duration,
    /// Until then, it is not ready.
    pub ready_after: Duration,
    /// The key without which it refuses all requests.
    pub key: Option<String>,
    /// Whether [`Fault::Die`] ends this process.
    pub is_process: bool,
    /// Its port; 0 for a free one.
    pub port: u16,
}

impl Default for FakeOptions {
    fn default() -> FakeOptions {
        FakeOptions {
            kind: ServerKind::Vllm,
            is_old: false,
            name: None,
            max_model_len: None,
            faults: faultless(),
            token_time: Duration::ZERO,
            ready_after: Duration::ZERO,
            key: None,
            is_process: false,
            port: 0,
        }
    }
}

/// A running fake server. Dropping it closes all of its connections.
pub struct FakeServer {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    options: FakeOptions,
    name: String,
    shape: ModelShape,
    url: String,
    started: Instant,
    work: Mutex<Sender<Work>>,
    requests: AtomicU64,
    active: AtomicUsize,
    most_active: AtomicUsize,
    prompts: Mutex<Vec<Vec<u32>>>,
    is_dead: AtomicBool,
    is_over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// What the thread with the model does.
enum Work {
    Sample(Request, Sender<Result<Completion>>),
    Score(ScoreRow, Sender<Result<Vec<f32>>>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeServer {
    /// Serves a model as `engine` samples and scores it.
    ///
    /// # Errors
    /// A model that the engine cannot use; no free port.
    pub fn start(engine: Box<dyn Engine + Send>, model: &Path, options: FakeOptions) -> Result<FakeServer> {
        let listener = TcpListener::bind(("127.0.0.1", options.port)).context("cannot listen")?;
        let url = format!("http://{}", listener.local_addr().context("the listener has no address")?);
        let name = options.name.clone().map_or_else(|| served_name(model), Ok)?;
        let (work, to_do) = channel();
        let (ready, shape) = channel();
        let model = model.to_owned();
        thread::spawn(move || run_model(&*engine, &model, &ready, &to_do));
        let shape = shape.recv().context("the model's thread has ended")??;
        let shared = Arc::new(Shared {
            options,
            name,
            shape,
            url,
            started: Instant::now(),
            work: Mutex::new(work),
            requests: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            most_active: AtomicUsize::new(0),
            prompts: Mutex::new(Vec::new()),
            is_dead: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(FakeServer { shared, accepting: Some(accepting) })
    }

    /// Serves as a process of its own, with the command line of the real server: `--model DIR` or `serve
    /// DIR`, `--served-model-name`, `--port`, `--max-model-len`. Returns only if it cannot.
    ///
    /// # Errors
    /// An incomplete command line; as [`FakeServer::start`].
    pub fn serve(engine: Box<dyn Engine + Send>, arguments: &[String], options: FakeOptions) -> Result<()> {
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let model = ["--model", "--model-path", "serve"].into_iter().find_map(after);
        let (Some(model), Some(name), Some(port)) = (model, after("--served-model-name"), after("--port"))
        else {
            bail!("expected a model, --served-model-name and --port in {arguments:?}");
        };
        let options = FakeOptions {
            name: Some(name.to_owned()),
            port: port.parse().context("--port")?,
            max_model_len: after("--max-model-len").map(str::parse).transpose().context("--max-model-len")?,
            is_process: true,
            ..options
        };
        let mut server = FakeServer::start(engine, &PathBuf::from(model), options)?;
        if let Some(accepting) = server.accepting.take() {
            // It accepts until the process ends.
            let _ = accepting.join();
        }
        Ok(())
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Requests so far for a sample or a score, with those of probes.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Most such requests at a time.
    pub fn most_active(&self) -> usize {
        self.shared.most_active.load(Ordering::Relaxed)
    }

    /// Such requests now.
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// Their prompts, in the order of arrival.
    pub fn prompts(&self) -> Vec<Vec<u32>> {
        lock(&self.shared.prompts).clone()
    }

    /// Ends as by a kill: all connections are closed, and new ones at once.
    pub fn die(&self) {
        self.shared.die();
    }

    /// Serves again after its death.
    pub fn revive(&self) {
        self.shared.is_dead.store(false, Ordering::SeqCst);
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.close_connections();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.shared.url.trim_start_matches("http://"));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn die(&self) {
        if self.options.is_process {
            eprintln!("fake server: dying as told");
            std::process::exit(1);
        }
        self.is_dead.store(true, Ordering::SeqCst);
        self.close_connections();
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst) || self.is_over.load(Ordering::SeqCst)
    }

    fn close_connections(&self) {
        for connection in lock(&self.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn max_model_len(&self) -> usize {
        self.options.max_model_len.unwrap_or(self.shape.positions)
    }
}

/// Does the work that needs the model, which lives on this thread alone.
fn run_model(engine: &dyn Engine, model: &Path, ready: &Sender<Result<ModelShape>>, to_do: &Receiver<Work>) {
    let loaded = engine.generator(model).and_then(|generator| Ok((generator, engine.scorer(model)?)));
    let (mut generator, mut scorer) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(Generate::shape(&*generator).clone())).is_err() {
        return;
    }
    for work in to_do {
        // A client that has gone away does not want the result.
        match work {
            Work::Sample(request, result) => drop(result.send(sample(&mut *generator, request))),
            Work::Score(row, result) => drop(result.send(score(&mut *scorer, row))),
        }
    }
}

fn sample(generator: &mut dyn Generate, request: Request) -> Result<Completion> {
    let samples = generate_all(generator, vec![request])?;
    samples.into_iter().flatten().next().context("no sample")
}

fn score(scorer: &mut dyn Score, row: ScoreRow) -> Result<Vec<f32>> {
    score_all(scorer, vec![row])?.pop().context("no scores")
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming().flatten() {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        if shared.is_dead() {
            continue;
        }
        if let Ok(other) = connection.try_clone() {
            lock(&shared.connections).push(other);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // The client's end of it is an end like any other.
            let _ = converse(&connection, &shared);
            let _ = connection.shutdown(Shutdown::Both);
        });
    }
}

/// A request over HTTP.
struct Asked {
    method: String,
    path: String,
    key: Option<String>,
    /// The whole seed.
    seed: Option<u64>,
    body: Vec<u8>,
}

fn converse(mut connection: &TcpStream, shared: &Shared) -> Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(asked) = read_request(&mut reader)? {
        if shared.is_dead() {
            return Ok(());
        }
        let Some(response) = respond(&asked, shared, connection) else { return Ok(()) };
        connection.write_all(&response.bytes())?;
        if response.cut.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut key, mut seed) = (0, None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            SEED_HEADER => seed = Some(value.trim().parse()?),
            "authorization" => key = value.trim().strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { method, path, key, seed, body }))
}

struct Response {
    status: u16,
    body: Vec<u8>,
    /// Bytes of the body after which the connection is closed.
    cut: Option<usize>,
}

impl Response {
    fn of(status: u16, body: &Value) -> Response {
        Response { status, body: body.to_string().into_bytes(), cut: None }
    }

    fn error(status: u16, message: &str) -> Response {
        Response::of(status, &json!({"error": {"message": message, "code": status}}))
    }

    fn bytes(&self) -> Vec<u8> {
        let (status, length) = (self.status, self.body.len());
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), &self.body[..self.cut.unwrap_or(length)]].concat()
    }
}

/// The response; none where the connection is closed.
fn respond(asked: &Asked, shared: &Shared, connection: &TcpStream) -> Option<Response> {
    if shared.options.key.is_some() && shared.options.key != asked.key {
        // As some proxies do.
        let key = asked.key.clone().unwrap_or_default();
        return Some(Response::error(401, &format!("Bearer {key} is not known here")));
    }
    let is_ready = shared.started.elapsed() >= shared.options.ready_after;
    if !is_ready {
        return Some(Response::error(503, "the model is loading"));
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/health") => Some(Response { status: 200, body: Vec::new(), cut: None }),
        ("GET", "/version" | "/get_server_info") => Some(Response::of(200, &json!({"version": "0.0.0"}))),
        ("GET", "/v1/models") => {
            let most = shared.max_model_len();
            Some(Response::of(200, &json!({"data": [{"id": shared.name, "max_model_len": most}]})))
        }
        ("POST", "/v1/completions") if shared.options.kind == ServerKind::Vllm => {
            faulty(asked, shared, connection)
        }
        ("POST", "/generate") if shared.options.kind == ServerKind::Sglang => {
            faulty(asked, shared, connection)
        }
        _ => Some(Response::error(404, "Not Found")),
    }
}

/// The response to a request for a sample or a score, with its fault.
fn faulty(asked: &Asked, shared: &Shared, connection: &TcpStream) -> Option<Response> {
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let active = shared.active.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_active.fetch_max(active, Ordering::SeqCst);
    let response = with_fault(asked, shared, connection, (shared.options.faults)(number));
    shared.active.fetch_sub(1, Ordering::SeqCst);
    response
}

fn with_fault(
    asked: &Asked,
    shared: &Shared,
    connection: &TcpStream,
    fault: Option<Fault>,
) -> Option<Response> {
    match fault {
        Some(Fault::Status500) => return Some(Response::error(500, "the engine has failed")),
        Some(Fault::NotFound) => return Some(Response::error(404, "The model `other` does not exist.")),
        Some(Fault::Disconnect) => return None,
        Some(Fault::Hang) => {
            while !shared.is_dead() && !is_given_up(connection) {
                sleep(Duration::from_millis(20));
            }
            return None;
        }
        Some(Fault::Die) => {
            shared.die();
            return None;
        }
        _ => {}
    }
    let (whole_seed, asked): (Option<u64>, Value) = match serde_json::from_slice(&asked.body) {
        Ok(body) => (asked.seed, body),
        Err(error) => return Some(Response::error(400, &error.to_string())),
    };
    let answered = match shared.options.kind {
        ServerKind::Vllm => shapes::vllm(&asked, whole_seed, shared, fault),
        ServerKind::Sglang => shapes::sglang(&asked, whole_seed, shared, fault),
    };
    let mut response = match answered {
        Ok(response) => Response::of(200, &response),
        Err(error) => return Some(Response::error(400, &format!("{error:#}"))),
    };
    let half = response.body.len() / 2;
    match fault {
        Some(Fault::CutJson) => response.body.truncate(half),
        Some(Fault::CutBody) => response.cut = Some(half),
        Some(Fault::NotANumber) => {
            let text = String::from_utf8_lossy(&response.body).replace(shapes::NAN_HERE, "NaN");
            response.body = text.into_bytes();
        }
        _ => {}
    }
    Some(response)
}

/// Whether the client has closed its side, upon which real servers abort a request.
fn is_given_up(connection: &TcpStream) -> bool {
    // The connection is not used again.
    connection.set_nonblocking(true).is_err() || matches!(connection.peek(&mut [0]), Ok(0))
}
