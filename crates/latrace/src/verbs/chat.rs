//! `latrace chat`: a conversation with a model in the terminal.

use std::io::{BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use latrace_core::Message;
use latrace_core::random::stream;
use latrace_core::{SamplingParams, StopReason};
use latrace_engine::boundary::{Completion, Generate, GenerateClient, Request, StopTexts};
use latrace_engine::text_codec::TextCodec;
use latrace_engine::{CpuEngine, CpuOptions, Engine, ModelShape};

use crate::verbs::sample::SamplingArguments;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::memory::Bytes;

/// The stage's name in the key of every random number.
const STAGE: &str = "chat";

/// Arguments of `latrace chat`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a message, and the reply is streamed. Ctrl-C stops the reply, /reset starts a new conversation,
/quit or end of input (Ctrl-D) exits. Without a chat template, the model continues the plain text.

Examples:
  latrace chat --model models/small
  latrace chat --model models/small --system 'Answer in one sentence.' --temperature 0
  echo 'What is 6 times 7?' | latrace chat --model models/small")]
pub struct ChatArguments {
    /// Model folder (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// System message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
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
    let model = model_folder(&arguments.model)?;
    let shape = ModelShape::read(&model)?;
    let text = TextCodec::open(&model, &shape)?;
    if !text.has_tokenizer() {
        let message =
            format!("{} has no tokenizer.json, which a conversation needs", arguments.model.display());
        return Err(Failure::work(message).into());
    }
    let params = arguments.sampling.params()?;
    let stop_ids = arguments.sampling.stop_ids(shape.end_ids);
    let interrupted = watch_for_interrupts()?;
    let kv_cache_bytes = arguments.kv_cache_bytes.map(|bytes| bytes.0);
    let engine = CpuEngine::new(CpuOptions { kv_cache_bytes, batch: 1, ..CpuOptions::default() });
    let generator = engine.generator(&model)?;
    let conversation =
        Conversation { messages: Vec::new(), system: arguments.system.clone(), plain: !text.has_template() };
    let seed = arguments.seed;
    Chat { generator, text: &text, params, stop_ids, conversation, seed, replies: 0, interrupted }.run()
}

/// A flag that Ctrl-C sets.
fn watch_for_interrupts() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        // A second Ctrl-C before the first took effect ends the program, so that a long prefill can be
        // killed.
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(interrupted)
}

/// The messages so far.
#[derive(Debug, Default)]
struct Conversation {
    messages: Vec<Message>,
    system: Option<String>,
    /// There is no chat template: messages are joined as plain text.
    plain: bool,
}

impl Conversation {
    fn say(&mut self, role: &str, content: &str) {
        if self.messages.is_empty()
            && let Some(system) = &self.system
        {
            self.messages.push(Message { role: "system".to_owned(), content: system.clone() });
        }
        self.messages.push(Message { role: role.to_owned(), content: content.to_owned() });
    }

    fn prompt(&self, text: &TextCodec) -> Result<Vec<u32>> {
        let rendered = if self.plain {
            self.messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
        } else {
            text.prompt(&self.messages).map_err(|problem| Failure::work(problem.to_string()))?
        };
        Ok(text.encode("message", &rendered).map_err(|problem| Failure::work(problem.to_string()))?)
    }
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
        let mut lines = std::io::stdin().lock().lines();
        loop {
            if std::io::stdin().is_terminal() {
                print!("> ");
                std::io::stdout().flush()?;
            }
            let Some(line) = lines.next() else {
                return Ok(());
            };
            match line.context("cannot read a message")?.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/reset" => {
                    self.conversation.messages.clear();
                    println!("(a new conversation)");
                }
                command if command.starts_with('/') => {
                    println!("(unknown: {command}; there are /reset and /quit)")
                }
                message => self.reply(message)?,
            }
        }
    }

    fn reply(&mut self, message: &str) -> Result<()> {
        self.interrupted.store(false, Ordering::SeqCst);
        self.conversation.say("user", message);
        let prompt = self.conversation.prompt(self.text)?;
        let seeds = vec![stream(self.seed, STAGE, "", self.replies)];
        self.replies += 1;
        let (params, stop_ids) = (self.params, self.stop_ids.clone());
        let mut printer = Printer {
            request: Some(Request { prompt, seeds, params, stop_ids, stop_texts: StopTexts::default() }),
            text: self.text,
            end_ids: &self.stop_ids,
            printed: String::new(),
            interrupted: &self.interrupted,
            stop: None,
        };
        if let Err(error) = self.generator.generate(&mut printer) {
            // The usual cause is a conversation that has outgrown the context or the KV cache, and keeping it
            // would make every further message fail in the same way.
            self.conversation.messages.clear();
            println!("({error}; a new conversation)");
            return Ok(());
        }
        match printer.stop {
            Some(StopReason::MaxTokens) => println!("\n(truncated at the token limit)"),
            Some(StopReason::Interrupted) => println!("\n(stopped)"),
            _ => println!(),
        }
        let reply = printer.printed;
        self.conversation.say("assistant", &reply);
        Ok(())
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
}

impl Printer<'_> {
    fn print(&mut self, tokens: &[u32]) {
        let tokens = match tokens.split_last() {
            Some((last, before)) if self.end_ids.contains(last) => before,
            _ => tokens,
        };
        let text = self.text.decode(tokens).unwrap_or_default();
        // A character split over several tokens decodes to U+FFFD until its last token arrives.
        let whole = text.trim_end_matches('\u{fffd}');
        if let Some(new) = whole.strip_prefix(self.printed.as_str()) {
            print!("{new}");
            // If the terminal is gone, the next read fails and reports it.
            let _ = std::io::stdout().flush();
            self.printed = whole.to_owned();
        }
    }
}

impl GenerateClient for Printer<'_> {
    fn next_request(&mut self) -> Result<Option<Request>> {
        Ok(self.request.take())
    }

    fn grown(&mut self, _: usize, _: usize, ids: &[u32], _: usize) -> ControlFlow<()> {
        self.print(ids);
        if self.interrupted.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn finished(&mut self, _: usize, _: usize, completion: Completion) -> Result<()> {
        self.stop = Some(completion.stop);
        Ok(())
    }
}
