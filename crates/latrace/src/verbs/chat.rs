//! `latrace chat`: a conversation with a model in the terminal.

use std::io::{self, BufRead, IsTerminal, stdin};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use anyhow::{Context, Result, bail};
use clap::Args;
use latrace_core::random::stream;
use latrace_core::{Markers, Message};
use latrace_core::{SamplingParams, StopReason};
use latrace_engine::boundary::{Completion, Generate, GenerateClient, Request, StopTexts};
use latrace_engine::text_codec::TextCodec;
use latrace_engine::{CpuEngine, CpuOptions, Engine};

use super::input::{ModelInput, Parsed, markers};
use super::output::{print, write};
use super::sample::SamplingArguments;
use latrace_io::failure::Failure;
use latrace_io::memory::Bytes;
use latrace_io::rows::FieldProblem;
use latrace_io::stdout::is_closed;
use latrace_run::release::{released_model, sampling_of};

/// The stage's name in the key of every random number.
const STAGE: &str = "chat";

/// Arguments of `latrace chat`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a message, and the reply is streamed. Ctrl-C stops the reply, /reset starts a new conversation,
/quit or end of input (Ctrl-D) exits. Without a chat template, the model continues the plain text. The thoughts
of earlier replies are given to the template apart from the answers; most leave them out.

Of a run, the chat is with its trained model, asked as in training and sampled as in its evaluation.

Examples:
  latrace chat runs/quickstart
  latrace chat --model models/small
  latrace chat --model models/small --system 'Answer in one sentence.' --temperature 0
  echo 'What is 6 times 7?' | latrace chat --model models/small")]
pub struct ChatArguments {
    /// Folder of a finished run
    #[arg(value_name = "RUN", required_unless_present = "model", conflicts_with = "model")]
    run: Option<PathBuf>,
    /// Model folder (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// System message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Begin each reply with the marker that opens a thought, as recipes with prompts.reasoner = "chat" do
    #[arg(long)]
    open_thought: bool,
    /// Markers around a thought: think, stratos, plain, or a table as in a recipe, such as
    /// '{ open = "<a>", close = "</a>" }'
    #[arg(long, value_name = "NAME|TABLE", default_value = "think")]
    markers: String,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Memory for the KV cache, such as 4G [default: half of the free memory]
    #[arg(long, value_name = "BYTES")]
    kv_cache_bytes: Option<Bytes>,
}

/// Runs `latrace chat`.
pub fn run(arguments: &ChatArguments) -> Result<()> {
    let model = ModelInput::open(&arguments.model_folder()?)?;
    check_tokenizer(&model)?;
    // Whatever can be refused is refused before the model is loaded, which takes long.
    let params = match &arguments.run {
        Some(_) => arguments.sampling.params_or(sampling_of(&model.folder)?)?,
        None => arguments.sampling.params()?,
    };
    let interrupted = watch_for_interrupts()?;
    let mut chat = Chat {
        generator: arguments.engine().generator(&model.folder)?,
        text: &model.text,
        params,
        stop_ids: arguments.sampling.stop_ids(model.shape.end_ids.clone()),
        conversation: Conversation::new(arguments, &model)?,
        seed: arguments.seed,
        replies: 0,
        interrupted,
    };
    chat.run()
}

fn check_tokenizer(model: &ModelInput) -> Result<()> {
    if model.text.has_tokenizer() { Ok(()) } else { Err(no_tokenizer(&model.folder).into()) }
}

fn no_tokenizer(model: &Path) -> Failure {
    Failure::work(format!("{} has no tokenizer.json, which a conversation needs", model.display()))
}

impl ChatArguments {
    fn model_folder(&self) -> Result<PathBuf> {
        match (&self.run, &self.model) {
            (Some(run), _) => released_model(run),
            (None, Some(model)) => Ok(model.clone()),
            (None, None) => bail!("expected a run or --model"),
        }
    }

    fn engine(&self) -> CpuEngine {
        let kv_cache_bytes = self.kv_cache_bytes.map(|bytes| bytes.0);
        // There is one reply at a time.
        CpuEngine::new(CpuOptions { kv_cache_bytes, batch: 1, ..CpuOptions::default() })
    }
}

/// A flag that Ctrl-C sets.
fn watch_for_interrupts() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::<AtomicBool>::default();
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || interrupt(&flag)).context("cannot watch for Ctrl-C")?;
    Ok(interrupted)
}

fn interrupt(flag: &AtomicBool) {
    // A second Ctrl-C before the first took effect ends the program, so that a long prefill can be killed.
    if flag.swap(true, SeqCst) {
        // The status that shells report for a process ended by Ctrl-C.
        process::exit(130);
    }
}

/// The messages so far.
#[derive(Debug)]
struct Conversation {
    messages: Vec<Message>,
    system: Option<String>,
    /// There is no chat template: messages are joined as plain text.
    plain: bool,
    markers: Markers,
    open_thought: bool,
}

impl Conversation {
    fn new(arguments: &ChatArguments, model: &ModelInput) -> Result<Conversation> {
        let (plain, open_thought) = (!model.text.has_template(), arguments.open_thought);
        if plain && open_thought {
            let model = model.folder.display();
            return Err(Failure::usage(format!("--open-thought: {model} has no chat template")).into());
        }
        let (system, markers) = (arguments.system.clone(), markers(&arguments.markers)?);
        Ok(Conversation { messages: Vec::new(), system, plain, markers, open_thought })
    }

    /// Adds a message of the user; the first one is preceded by the system message, also after a reset.
    fn ask(&mut self, text: &str) {
        if self.messages.is_empty()
            && let Some(system) = &self.system
        {
            self.messages.push(Message::new("system", system));
        }
        self.messages.push(Message::new("user", text));
    }

    /// Adds a reply. Its thought is kept apart, so that a template which knows of none does not render it as an answer.
    fn answer(&mut self, reply: &str) {
        let answered = |(thought, answer): (&str, &str)| Message {
            reasoning_content: Some(thought.to_owned()),
            ..Message::new("assistant", answer)
        };
        let split = self.markers.split(reply).filter(|_| !self.plain);
        self.messages.push(split.map_or_else(|| Message::new("assistant", reply), answered));
    }

    /// The token ids of the whole conversation.
    fn prompt(&self, text: &TextCodec) -> Parsed<Vec<u32>> {
        // All of it for each reply: a template may render a message differently once others follow it.
        let encode = if self.plain { TextCodec::encode_prompt } else { TextCodec::encode };
        encode(text, "message", &self.rendered(text)?)
    }

    fn rendered(&self, text: &TextCodec) -> Parsed<String> {
        if !self.plain {
            let prompt = text.prompt(&self.messages)?;
            let opened = || format!("{}{}", self.markers.before_thought(&prompt), self.markers.open);
            return Ok(if self.open_thought { opened() } else { prompt });
        }
        let contents = self.messages.iter().map(|message| message.content.as_str());
        Ok(contents.collect::<Vec<_>>().join("\n"))
    }
}

fn refused(problem: FieldProblem) -> Failure {
    Failure::work(problem.to_string())
}

struct Chat<'a> {
    generator: Box<dyn Generate>,
    text: &'a TextCodec,
    params: SamplingParams,
    stop_ids: Vec<u32>,
    conversation: Conversation,
    seed: u64,
    replies: u64,
    interrupted: Arc<AtomicBool>,
}

impl Chat<'_> {
    fn run(&mut self) -> Result<()> {
        let mut lines = stdin().lock().lines();
        while let Some(line) = next_line(&mut lines)? {
            if self.take_line(line.trim())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Does what a line says; breaks if it ends the conversation.
    fn take_line(&mut self, line: &str) -> Result<ControlFlow<()>> {
        match line {
            "" => {}
            "/quit" | "/exit" => return Ok(ControlFlow::Break(())),
            "/reset" => self.reset("a new conversation")?,
            // A mistyped command is not a message, which would cost a reply.
            command if command.starts_with('/') => {
                print(&format!("(unknown: {command}; there are /reset and /quit)"))?;
            }
            message => self.reply(message)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn reset(&mut self, notice: &str) -> Result<()> {
        self.conversation.messages.clear();
        print(&format!("({notice})"))
    }

    fn reply(&mut self, message: &str) -> Result<()> {
        // A Ctrl-C while no reply was being sampled must not stop this one.
        self.interrupted.store(false, SeqCst);
        self.conversation.ask(message);
        let request = self.request()?;
        match self.sample(request) {
            Ok((reply, stop)) => {
                print(ending(stop))?;
                self.conversation.answer(&reply);
            }
            // Nobody reads any more.
            Err(error) if is_closed() => return Err(error),
            Err(error) => {
                // The usual cause is a conversation that has outgrown the context or the KV cache, and keeping
                // it would make every further message fail in the same way.
                self.reset(&format!("{error}; a new conversation"))?;
            }
        }
        Ok(())
    }

    /// Samples and prints a reply; returns its text, and why it ended.
    fn sample(&mut self, request: Request) -> Result<(String, Option<StopReason>)> {
        let mut printer = Printer {
            request: Some(request),
            text: self.text,
            end_ids: &self.stop_ids,
            printed: String::new(),
            interrupted: &self.interrupted,
            stop: None,
            failure: None,
        };
        let generated = self.generator.generate(&mut printer);
        // It is the reason for what the engine returns: an interrupted reply.
        printer.failure.take().map_or(generated, Err)?;
        Ok((printer.printed, printer.stop))
    }

    /// A request for the next reply. Replies are numbered, so that the same message twice is not answered
    /// with the same random numbers.
    fn request(&mut self) -> Result<Request> {
        let prompt = self.conversation.prompt(self.text).map_err(refused)?;
        let seeds = vec![stream(self.seed, STAGE, "", self.replies)];
        self.replies += 1;
        let (params, stop_ids) = (self.params, self.stop_ids.clone());
        Ok(Request { prompt, seeds, params, stop_ids, stop_texts: StopTexts::default() })
    }
}

/// The next message; none at the end of input.
fn next_line(lines: &mut impl Iterator<Item = io::Result<String>>) -> Result<Option<String>> {
    show_input_prompt()?;
    lines.next().transpose().context("cannot read a message")
}

/// Shows the prompt of an input line, in a terminal only: piped output holds replies alone.
fn show_input_prompt() -> Result<()> {
    if stdin().is_terminal() {
        write(b"> ")?;
    }
    Ok(())
}

/// What follows a reply.
fn ending(stop: Option<StopReason>) -> &'static str {
    match stop {
        Some(StopReason::MaxTokens) => "\n(truncated at the token limit)",
        Some(StopReason::Interrupted) => "\n(stopped)",
        _ => "",
    }
}

/// Prints a reply as it is generated.
struct Printer<'a> {
    request: Option<Request>,
    text: &'a TextCodec,
    end_ids: &'a [u32],
    printed: String,
    interrupted: &'a AtomicBool,
    stop: Option<StopReason>,
    /// An error that ends the reply from where none can be returned.
    failure: Option<anyhow::Error>,
}

impl Printer<'_> {
    fn print(&mut self, tokens: &[u32]) {
        // The whole reply each time: the text of a token depends on those before it.
        let text = self.text.decode(self.without_end(tokens)).unwrap_or_default();
        // A character split over several tokens decodes to U+FFFD until its last token arrives.
        let whole = text.trim_end_matches('\u{fffd}');
        // What is printed cannot be taken back: should it decode otherwise now, nothing more is shown.
        if let Some(new) = whole.strip_prefix(self.printed.as_str()) {
            self.failure = write(new.as_bytes()).err();
            self.printed = whole.to_owned();
        }
    }

    /// The tokens without the end token, which is not part of the reply's text.
    fn without_end<'a>(&self, tokens: &'a [u32]) -> &'a [u32] {
        match tokens.split_last() {
            Some((last, before)) if self.end_ids.contains(last) => before,
            _ => tokens,
        }
    }
}

impl GenerateClient for Printer<'_> {
    fn next_request(&mut self) -> Result<Option<Request>> {
        // Taken, since the engine asks until there is none.
        Ok(self.request.take())
    }

    fn grown(&mut self, _: usize, _: usize, ids: &[u32], _: usize) -> ControlFlow<()> {
        self.print(ids);
        let is_over = self.failure.is_some() || self.interrupted.load(SeqCst);
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finished(&mut self, _: usize, _: usize, completion: Completion) -> Result<()> {
        self.stop = Some(completion.stop);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_of_earlier_replies_are_kept_apart_from_answers() {
        let markers = Markers::named("think").unwrap();
        let mut conversation =
            Conversation { messages: Vec::new(), system: None, plain: false, markers, open_thought: false };
        conversation.ask("1 + 1?");
        conversation.answer("<think>\none and one\n</think>\n\n2");
        conversation.answer("so 2\n</think>\n\ntwo");
        conversation.answer("2 at once");
        conversation.answer("<think>\ncut");
        let said: Vec<(&str, Option<&str>)> = conversation
            .messages
            .iter()
            .map(|message| (message.content.as_str(), message.reasoning_content.as_deref()))
            .collect();
        let expected = [
            ("1 + 1?", None),
            ("2", Some("one and one")),
            ("two", Some("so 2")),
            ("2 at once", None),
            ("<think>\ncut", None),
        ];
        assert_eq!(said, expected);
    }
}
