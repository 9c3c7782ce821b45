//! Requests of a client, spread over servers, tried again where they fail, and handed back as they are
//! answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ask::Ask;
use super::balance::Balance;
use super::error::{ServerError, Trouble};
use super::fleet::{Board, Common, Fleet};
use super::http::Http;
use super::queue::Queue;

/// Requests taken from the client, as a multiple of those that the servers have at a time: none of them waits
/// for the client.
const AHEAD: usize = 2;

/// How long workers and the client's side wait before they look whether servers are still there.
const LOOK: Duration = Duration::from_millis(500);

/// Wait before the first further attempt; doubled with each, up to 2^[`DOUBLINGS`] times.
const BACKOFF: Duration = Duration::from_millis(100);
const DOUBLINGS: u32 = 6;

/// Stack of a worker, of which there are hundreds.
const STACK: usize = 512 << 10;

/// The wait before another attempt, after `failed` further attempts.
pub(super) fn backoff(failed: u32) -> Duration {
    BACKOFF * (1 << failed.min(DOUBLINGS))
}

/// Where requests come from and answers go.
pub(super) trait Source<A: Ask> {
    /// The requests for the next prompt; none when there are no more.
    fn next(&mut self) -> Result<Option<Vec<A>>>;

    /// An answer, in any order.
    fn answered(&mut self, ask: A, answer: A::Answer) -> Result<()>;

    /// The display name of what a request is for.
    fn name(&self, ask: &A) -> String;
}

/// One attempt at a request.
pub(super) fn answer<A: Ask>(common: &Common, http: &Http, ask: &A) -> Result<A::Answer, Trouble> {
    let call = ask.call(common.dialect, &common.name);
    ask.read(common.dialect, &http.post(&call, common.request_limit())?)
}

/// A request and its attempts.
struct Job<A> {
    ask: A,
    failed: u32,
    /// The server whose line it was put into.
    line: usize,
}

/// A job, the server that had it, and the outcome.
struct Outcome<A: Ask> {
    job: Job<A>,
    server: usize,
    answer: Result<A::Answer, Trouble>,
}

/// Does all of a source's work. Returns its errors unchanged, and interrupts what is in progress then.
pub(super) fn work<A: Ask>(fleet: &Fleet, source: &mut dyn Source<A>) -> Result<()> {
    let board = &fleet.board;
    let queue = Arc::new(Queue::new(board.len()));
    let (sender, outcomes) = channel();
    let done = start_workers(board, &queue, &sender).and_then(|()| {
        let in_flight = board.common.config.in_flight;
        let balance = Balance::new(board.len(), in_flight);
        let most = AHEAD * in_flight * board.len();
        let dispatch =
            Dispatch { board, queue: &queue, outcomes, balance, most, open: 0, delayed: Vec::new() };
        dispatch.run(source)
    });
    queue.close();
    if done.is_err() {
        // Otherwise servers would go on with what nobody waits for.
        board.interrupt();
    }
    done
}

/// Starts the workers of each server. They end with the queue, and are not waited for: one may be within a
/// system call.
fn start_workers<A: Ask>(
    board: &Arc<Board>,
    queue: &Arc<Queue<Job<A>>>,
    outcomes: &Sender<Outcome<A>>,
) -> Result<()> {
    for server in 0..board.len() {
        for _ in 0..board.common.config.in_flight {
            let (board, queue, outcomes) = (Arc::clone(board), Arc::clone(queue), outcomes.clone());
            let worker = move || serve(&board, server, &queue, &outcomes);
            let builder = thread::Builder::new().stack_size(STACK);
            builder.spawn(worker).context("cannot start a thread for each of servers.in_flight requests")?;
        }
    }
    Ok(())
}

/// Does a server's work, one request at a time.
fn serve<A: Ask>(board: &Board, server: usize, queue: &Queue<Job<A>>, outcomes: &Sender<Outcome<A>>) {
    while !queue.is_closed() && !board.is_lost(server) {
        let Some(http) = board.wait_up(server, LOOK) else { continue };
        let Some(job) = queue.take(server, LOOK) else { continue };
        board.counts.requests.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&board.common, &http, &job.ask);
        if matches!(answer, Err(Trouble::Passing(_))) && !queue.is_closed() {
            board.suspect(server);
        }
        if outcomes.send(Outcome { job, server, answer }).is_err() {
            return;
        }
    }
}

/// The client's side.
struct Dispatch<'a, A: Ask> {
    board: &'a Board,
    queue: &'a Queue<Job<A>>,
    outcomes: Receiver<Outcome<A>>,
    balance: Balance,
    /// Most requests that are taken and not answered.
    most: usize,
    /// Requests that are.
    open: usize,
    /// Failed requests, with the server that had them, and when they are tried again.
    delayed: Vec<(Instant, usize, Job<A>)>,
}

impl<A: Ask> Dispatch<'_, A> {
    fn run(mut self, source: &mut dyn Source<A>) -> Result<()> {
        let mut has_more = true;
        while has_more || self.open > 0 {
            if has_more && self.open < self.most {
                has_more = self.take(source)?;
                // Without a wait: answers must not pile up while requests are taken.
                if let Ok(outcome) = self.outcomes.try_recv() {
                    self.settle(outcome, source)?;
                }
            } else {
                self.wait(source)?;
            }
            self.try_again();
        }
        Ok(())
    }

    /// Takes the requests for a prompt. Whether there were any.
    fn take(&mut self, source: &mut dyn Source<A>) -> Result<bool> {
        let Some(asks) = source.next()? else { return Ok(false) };
        let Some(first) = asks.first() else { return Ok(true) };
        let line = self.balance.choose(first.prompt(), asks.len(), None);
        self.open += asks.len();
        for ask in asks {
            self.queue.push(line, Job { ask, failed: 0, line });
        }
        Ok(true)
    }

    fn wait(&mut self, source: &mut dyn Source<A>) -> Result<()> {
        let due = self.delayed.iter().map(|(due, ..)| due.saturating_duration_since(Instant::now())).min();
        match self.outcomes.recv_timeout(due.unwrap_or(LOOK).min(LOOK)) {
            Ok(outcome) => self.settle(outcome, source),
            // All workers end once their servers are lost.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.check_servers(),
        }
    }

    fn check_servers(&mut self) -> Result<()> {
        for (server, is_open) in self.board.open().into_iter().enumerate() {
            self.balance.set_open(server, is_open);
        }
        self.board.all_lost().map_or(Ok(()), |error| Err(error.into()))
    }

    fn settle(&mut self, outcome: Outcome<A>, source: &mut dyn Source<A>) -> Result<()> {
        let Outcome { job, server, answer } = outcome;
        self.balance.done(job.line);
        match answer {
            Ok(answer) => {
                self.open -= 1;
                source.answered(job.ask, answer)
            }
            Err(Trouble::Passing(detail)) if job.failed < self.board.common.config.retries => {
                self.delay(job, server, &detail);
                self.check_servers()
            }
            Err(trouble) => {
                // A server that is gone for good says more than the connection that broke.
                self.check_servers()?;
                let attempts =
                    if job.failed == 0 { String::new() } else { format!(" ({} attempts)", job.failed + 1) };
                let (row, server) = (source.name(&job.ask), self.board.label(server));
                Err(ServerError::Row { row, server, detail: trouble.into_detail() + &attempts }.into())
            }
        }
    }

    fn delay(&mut self, job: Job<A>, server: usize, detail: &str) {
        self.board.counts.retries.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("{}: {detail}; the request is tried again", self.board.label(server));
        let due = Instant::now() + backoff(job.failed);
        self.delayed.push((due, server, Job { failed: job.failed + 1, ..job }));
    }

    fn try_again(&mut self) {
        let now = Instant::now();
        let is_due = |(due, ..): &mut (Instant, usize, Job<A>)| *due <= now;
        for (_, server, job) in self.delayed.extract_if(.., is_due) {
            let line = self.balance.choose(job.ask.prompt(), 1, Some(server));
            self.queue.push(line, Job { line, ..job });
        }
    }
}
