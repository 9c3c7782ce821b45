//! The servers of one model: started or found, watched, restarted, and stopped.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::config::ServersConfig;
use super::dialect::Dialect;
use super::error::ServerError;
use super::http::Http;
use super::launch::{self, Site, Started};
use super::probe::{self, Probe};
use crate::boundary::{ModelShape, ServerNote};
use crate::child;

/// How often a server that is well is looked at.
const WATCH: Duration = Duration::from_secs(5);

/// How often it is asked whether its process has ended.
const GLANCE: Duration = Duration::from_millis(200);

/// Between the two looks after which a server counts as dead.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How long `/health` may take: a server that is busy with prompts answers late.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);

/// How often a server that we started is started again.
const MAX_RESTARTS: u32 = 3;

/// What all servers of a model have in common.
pub(super) struct Common {
    pub config: ServersConfig,
    pub dialect: &'static dyn Dialect,
    pub model: PathBuf,
    pub name: String,
    pub shape: ModelShape,
    pub key: Option<String>,
    /// Folder of the servers' logs.
    pub logs: PathBuf,
    /// What servers say of themselves, for the engine's record.
    pub notes: Arc<Mutex<Vec<ServerNote>>>,
}

impl Common {
    /// A client for requests, or for a few at a time.
    pub fn http(&self, base: &str, connections: usize) -> Http {
        Http::new(base, self.key.as_deref(), connections)
    }

    /// Notes what servers are, each kind once.
    fn note(&self, servers: &[Started]) {
        let mut notes = lock(&self.notes);
        for server in servers {
            let note = ServerNote {
                kind: self.config.kind.name().to_owned(),
                version: server.version.clone(),
                max_model_len: server.max_tokens,
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }

    /// How long a request may take.
    pub fn request_limit(&self) -> Duration {
        Duration::from_secs(self.config.request_timeout)
    }

    /// How long a server may take to be ready.
    pub fn start_limit(&self) -> Duration {
        Duration::from_secs(self.config.start_timeout)
    }
}

/// The servers. Dropping them stops those that were started here.
pub(super) struct Fleet {
    pub board: Arc<Board>,
    keepers: Vec<JoinHandle<()>>,
    /// Most tokens of prompt and response that every server takes.
    pub max_tokens: usize,
}

/// How the servers are.
pub(super) struct Board {
    pub common: Common,
    state: Mutex<State>,
    bell: Condvar,
    pub counts: Counts,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub requests: AtomicU64,
    pub retries: AtomicU64,
    pub restarts: AtomicU64,
}

struct State {
    places: Vec<Place>,
    is_closing: bool,
}

struct Place {
    label: String,
    condition: Condition,
}

/// How a server is.
enum Condition {
    /// It takes requests.
    Up(Arc<Lines>),
    /// A request has failed: it takes none until it has been looked at.
    Suspect(Arc<Lines>),
    /// It is dead, and may come back.
    Down,
    /// It does not come back, for this reason.
    Lost(String),
}

/// Connections to a server: those of requests, which are interrupted with the work, and that of its keeper.
struct Lines {
    base: String,
    work: Mutex<Arc<Http>>,
    watch: Http,
}

impl Lines {
    fn new(common: &Common, base: &str) -> Lines {
        let work = Mutex::new(Arc::new(common.http(base, common.config.in_flight)));
        Lines { base: base.to_owned(), work, watch: common.http(base, 1) }
    }

    fn work(&self) -> Arc<Http> {
        Arc::clone(&lock(&self.work))
    }

    fn close(&self) {
        self.work().close();
        self.watch.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Starts or finds the servers of a model, waits for them, and checks what they give.
    pub fn new(common: Common) -> Result<Fleet> {
        let sites = launch::sites(&common)?;
        let started = start_all(&common, &sites)?;
        let probe = match probe::all(&common, &started) {
            Ok(probe) => probe,
            Err(error) => {
                launch::stop(started);
                return Err(error);
            }
        };
        common.note(&started);
        let max_tokens = started.iter().filter_map(|started| started.max_tokens).min().unwrap_or(usize::MAX);
        let place = |started: &Started| Place {
            label: started.label.clone(),
            condition: Condition::Up(Arc::new(Lines::new(&common, &started.base))),
        };
        let state = Mutex::new(State { places: started.iter().map(place).collect(), is_closing: false });
        let board = Arc::new(Board { common, state, bell: Condvar::new(), counts: Counts::default() });
        let probe = Arc::new(probe);
        let keeper = |(number, (site, started))| {
            let keeper =
                Keeper { board: Arc::clone(&board), number, site, probe: Arc::clone(&probe), restarts: 0 };
            thread::spawn(move || keeper.keep(started))
        };
        let keepers = sites.into_iter().zip(started).enumerate().map(keeper).collect();
        Ok(Fleet { board, keepers, max_tokens })
    }
}

/// Starts or finds all servers at once: a large model takes minutes. The first failure ends the wait for the
/// others.
fn start_all(common: &Common, sites: &[Site]) -> Result<Vec<Started>> {
    let has_failed = AtomicBool::new(false);
    let start = |site| {
        let started = launch::start(common, site, &|| has_failed.load(Ordering::Relaxed));
        has_failed.fetch_or(started.is_err(), Ordering::Relaxed);
        started.map_err(|error| (Instant::now(), error))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = sites.iter().map(|site| scope.spawn(move || start(site))).collect();
        let joined = starting.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.collect()
    });
    let (mut started, mut failed) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(one) => started.push(one),
            Err(failure) => failed.push(failure),
        }
    }
    match failed.into_iter().min_by_key(|(when, _)| *when) {
        None => Ok(started),
        Some((_, error)) => {
            launch::stop(started);
            Err(error)
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.board.close();
        for keeper in self.keepers.drain(..) {
            // A keeper that panicked has dropped its server.
            let _ = keeper.join();
        }
    }
}

impl Board {
    /// How many servers there are.
    pub fn len(&self) -> usize {
        lock(&self.state).places.len()
    }

    /// A server's name in messages.
    pub fn label(&self, server: usize) -> String {
        lock(&self.state).places[server].label.clone()
    }

    /// Whether each server takes requests.
    pub fn open(&self) -> Vec<bool> {
        lock(&self.state).places.iter().map(|place| matches!(place.condition, Condition::Up(_))).collect()
    }

    /// The reasons, once no server is left.
    pub fn all_lost(&self) -> Option<ServerError> {
        let state = lock(&self.state);
        let lost = |place: &Place| match &place.condition {
            Condition::Lost(why) => Some((place.label.clone(), why.clone())),
            _ => None,
        };
        let lost: Option<Vec<(String, String)>> = state.places.iter().map(lost).collect();
        let (server, detail) = lost?.pop()?;
        Some(ServerError::Server { server, detail })
    }

    /// The connections of a server that takes requests, waiting up to `limit` for it to do so. None also if
    /// it is lost.
    pub fn wait_up(&self, server: usize, limit: Duration) -> Option<Arc<Http>> {
        let up = |state: &State| match &state.places[server].condition {
            Condition::Up(lines) => Some(lines.work()),
            _ => None,
        };
        let state = lock(&self.state);
        if let Some(http) = up(&state) {
            return Some(http);
        }
        let waited = self.bell.wait_timeout(state, limit);
        up(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Whether a server does not come back.
    pub fn is_lost(&self, server: usize) -> bool {
        matches!(lock(&self.state).places[server].condition, Condition::Lost(_))
    }

    /// A request has failed there: it is looked at before it gets another.
    pub fn suspect(&self, server: usize) {
        let mut state = lock(&self.state);
        let condition = &mut state.places[server].condition;
        if let Condition::Up(lines) = condition {
            *condition = Condition::Suspect(Arc::clone(lines));
        }
        drop(state);
        self.bell.notify_all();
    }

    /// Interrupts all requests. Later ones are not affected.
    pub fn interrupt(&self) {
        let state = lock(&self.state);
        for place in &state.places {
            if let Condition::Up(lines) | Condition::Suspect(lines) = &place.condition {
                let new = Arc::new(self.common.http(&lines.base, self.common.config.in_flight));
                std::mem::replace(&mut *lock(&lines.work), new).close();
            }
        }
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closing = true;
        for place in &state.places {
            if let Condition::Up(lines) | Condition::Suspect(lines) = &place.condition {
                lines.close();
            }
        }
        drop(state);
        self.bell.notify_all();
    }

    fn is_closing(&self) -> bool {
        lock(&self.state).is_closing
    }

    fn set(&self, server: usize, condition: Condition) {
        let mut state = lock(&self.state);
        let old = std::mem::replace(&mut state.places[server].condition, condition);
        // What it still has goes elsewhere at once, instead of waiting for a time-out.
        if let (Condition::Up(lines) | Condition::Suspect(lines), Condition::Down | Condition::Lost(_)) =
            (old, &state.places[server].condition)
        {
            lines.close();
        }
        drop(state);
        self.bell.notify_all();
    }

    /// Waits for `limit`, a suspicion, or the end. Whether the server is suspect.
    fn wait_for_suspicion(&self, server: usize, limit: Duration) -> bool {
        let is_suspect = |state: &State| {
            matches!(state.places[server].condition, Condition::Suspect(_)) || state.is_closing
        };
        let state = lock(&self.state);
        if is_suspect(&state) {
            return true;
        }
        let waited = self.bell.wait_timeout(state, limit);
        is_suspect(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn lines(&self, server: usize) -> Option<Arc<Lines>> {
        match &lock(&self.state).places[server].condition {
            Condition::Up(lines) | Condition::Suspect(lines) => Some(Arc::clone(lines)),
            Condition::Down | Condition::Lost(_) => None,
        }
    }
}

/// Watches one server, and starts it again.
struct Keeper {
    board: Arc<Board>,
    number: usize,
    site: Site,
    probe: Arc<Probe>,
    restarts: u32,
}

impl Keeper {
    fn keep(mut self, first: Started) {
        let mut started = first;
        while let Some(why) = self.watch(&started) {
            // It is no error of a server that it ends with us.
            child::hold_if_stopping();
            tracing::warn!("{}: {why}", started.label);
            self.board.set(self.number, Condition::Down);
            match self.again(started, &why) {
                Ok(Some(new)) => started = new,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("{}: it is given up", self.board.label(self.number));
                    return self.board.set(self.number, Condition::Lost(error));
                }
            }
        }
    }

    /// Watches it until it is dead; then says why. None at the end of the work.
    fn watch(&self, started: &Started) -> Option<String> {
        let mut last_look = Instant::now();
        loop {
            let is_suspect = self.board.wait_for_suspicion(self.number, GLANCE);
            if self.board.is_closing() {
                return None;
            }
            if let Some(how) = started.ended() {
                return (!self.board.is_closing()).then_some(how);
            }
            if is_suspect || last_look.elapsed() >= WATCH {
                if let Some(why) = self.look_twice() {
                    return (!self.board.is_closing()).then_some(started.ended().unwrap_or(why));
                }
                last_look = Instant::now();
            }
        }
    }

    /// Why it counts as dead, if it does. A server that is well takes requests again.
    fn look_twice(&self) -> Option<String> {
        let lines = self.board.lines(self.number)?;
        if lines.watch.get("/health", HEALTH_LIMIT).is_err() {
            thread::sleep(SECOND_LOOK);
            if let Err(trouble) = lines.watch.get("/health", HEALTH_LIMIT) {
                return Some(format!("it is not healthy: {}", trouble.detail()));
            }
        }
        self.board.set(self.number, Condition::Up(lines));
        None
    }

    /// Starts it again, or waits for it. None at the end of the work.
    fn again(&mut self, dead: Started, why: &str) -> Result<Option<Started>, String> {
        let log = dead.last_lines();
        // Before its successor starts, which needs its memory.
        drop(dead);
        if self.board.is_closing() {
            return Ok(None);
        }
        if self.site.is_ours() {
            if self.restarts == MAX_RESTARTS {
                return Err(format!("{why}; it was restarted {MAX_RESTARTS} times{}", quoted(&log)));
            }
            self.restarts += 1;
        }
        let board = Arc::clone(&self.board);
        let is_over = move || board.is_closing();
        match launch::start(&self.board.common, &self.site, &is_over) {
            _ if self.board.is_closing() => Ok(None),
            Ok(started) => self.back(started).map(Some),
            Err(error) => Err(format!("{why}{}; and then: {error:#}", quoted(&log))),
        }
    }

    /// It is there again, if it still gives what it gave.
    fn back(&self, started: Started) -> Result<Started, String> {
        let common = &self.board.common;
        probe::again(common, &started, &self.probe).map_err(|error| error.to_string())?;
        // It may be another version: servers by URL are restarted by others.
        common.note(std::slice::from_ref(&started));
        let lines = Arc::new(Lines::new(common, &started.base));
        self.board.counts.restarts.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("{}: it is back", started.label);
        self.board.set(self.number, Condition::Up(lines));
        Ok(started)
    }
}

/// The last lines of a log, for an error.
pub(super) fn quoted(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; the last lines of its log:\n{log}") }
}
