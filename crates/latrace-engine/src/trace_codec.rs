//! A tokenizer with markers: where a thought ends and its answer begins, on token ids.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use latrace_core::{Markers, boundary};

use crate::boundary::{ModelShape, StopTexts};
use crate::text_codec::TextCodec;
use latrace_io::failure::Failure;

/// A tokenizer with the markers of one family. Texts become ids here, once; traces z and answers y are cut
/// and joined on ids from then on.
#[derive(Debug)]
pub struct TraceCodec {
    /// The tokenizer.
    pub text: TextCodec,
    /// The tokens that every y begins with: the rest of the closing marker, and the answer's opening marker.
    pub answer_prefix: Vec<u32>,
    markers: Markers,
    /// Tokens that end any text.
    end_ids: Vec<u32>,
    /// The one of them that rows end with.
    end_id: u32,
    /// The cut and the answer's closing marker, where they are one token.
    cut_id: Option<u32>,
    close_id: Option<u32>,
}

impl TraceCodec {
    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    /// Markers by which no trace would end; a folder without a tokenizer or an end token.
    pub fn open(model: &Path, markers: Markers) -> Result<TraceCodec> {
        markers.check()?;
        let shape = ModelShape::read(model)?;
        let text = TextCodec::open(model, &shape)?;
        if !text.has_tokenizer() {
            return Err(no_tokenizer(model).into());
        }
        let end_id = text.own_end(&shape.end_ids).ok_or_else(|| no_end_token(model))?;
        TraceCodec::new(text, shape.end_ids, end_id, markers)
    }

    fn new(text: TextCodec, end_ids: Vec<u32>, end_id: u32, markers: Markers) -> Result<TraceCodec> {
        let (_, rest) = markers.ends();
        let answer_prefix = encode(&text, &rest)?;
        let cut_id = single(&text, &markers.cut)?;
        let close_id = single(&text, markers.answer_close.trim_start())?;
        Ok(TraceCodec { text, answer_prefix, markers, end_ids, end_id, cut_id, close_id })
    }

    /// Token ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        encode(&self.text, text)
    }

    /// z of a trace's text: with what closes it.
    pub fn trace_ids(&self, trace: &str) -> Result<Vec<u32>> {
        let (of_trace, _) = self.markers.ends();
        let ids = self.encode(&format!("{trace}{of_trace}"))?;
        // A trace that holds the cut itself would be cut there when it is read back.
        if self.boundary(&ids) != Some(ids.len()) {
            return Err(holds_cut(&self.markers.cut).into());
        }
        Ok(ids)
    }

    /// y of an answer's text: what is given, the answer, its closing marker, and the end of the row.
    pub fn answer_ids(&self, answer: &str) -> Result<Vec<u32>> {
        let answer = self.encode(&format!("{answer}{}", self.markers.answer_close))?;
        Ok([self.answer_prefix.as_slice(), &answer, &[self.end_id]].concat())
    }

    /// How many of `ids` are z: none where the thought has no end.
    pub fn boundary(&self, ids: &[u32]) -> Option<usize> {
        match self.cut_id {
            Some(cut) => ids.iter().position(|&id| id == cut).map(|at| at + 1),
            // A cut of several tokens is searched for as text: its tokens may be merged with those around it.
            None => boundary(ids, &self.markers.cut, |ids| self.text.decode(ids)),
        }
    }

    /// The markers of the family.
    pub fn markers(&self) -> &Markers {
        &self.markers
    }

    /// The text of a whole response, z and y, without end tokens.
    pub fn response_text(&self, ids: &[u32]) -> String {
        let end = ids.iter().position(|id| self.end_ids.contains(id)).unwrap_or(ids.len());
        // There is a tokenizer: `open` refuses a folder without one.
        self.text.decode(&ids[..end]).unwrap_or_default()
    }

    /// y as its judge reads it: without markers and end tokens.
    pub fn answer_text(&self, ids: &[u32]) -> String {
        let text = self.response_text(ids);
        let (_, rest) = self.markers.ends();
        let text = text.trim().strip_prefix(rest.trim()).unwrap_or(text.trim());
        before(text, self.markers.answer_close.trim()).trim().to_owned()
    }

    /// Tokens that end a trace.
    pub fn trace_end_ids(&self) -> Vec<u32> {
        self.end_ids.iter().copied().chain(self.cut_id).collect()
    }

    /// Texts that end a trace, where the cut is no single token.
    pub fn trace_stops(&self) -> StopTexts {
        stops(self.cut_id, &self.markers.cut)
    }

    /// Tokens that end an answer.
    pub fn answer_end_ids(&self) -> Vec<u32> {
        self.end_ids.iter().copied().chain(self.close_id).collect()
    }

    /// Texts that end an answer, where its closing marker is no single token.
    pub fn answer_stops(&self) -> StopTexts {
        stops(self.close_id, self.markers.answer_close.trim_start())
    }
}

/// A marker as a stop text, unless it is empty or the token `id` stands for it.
fn stops(id: Option<u32>, marker: &str) -> StopTexts {
    let is_needed = id.is_none() && !marker.is_empty();
    StopTexts::new(if is_needed { vec![marker.to_owned()] } else { Vec::new() })
}

fn holds_cut(cut: &str) -> Failure {
    Failure::work(format!("the trace holds {cut:?} before its end"))
        .hint("take it out of the trace, or choose other prompts.markers, which thoughts do not hold")
}

fn no_tokenizer(model: &Path) -> Failure {
    Failure::work(format!("{} has no tokenizer.json", model.display()))
        .hint("prompts, hints and markers are texts; put the model's tokenizer.json there")
}

fn no_end_token(model: &Path) -> Failure {
    Failure::work(format!("the model in {} has no token that ends a text", model.display()))
        .hint("name it as `eos_token_id` in config.json or generation_config.json")
}

fn encode(codec: &TextCodec, text: &str) -> Result<Vec<u32>> {
    codec.encode("text", text).map_err(|problem| anyhow!("{problem}"))
}

/// The id of a text that is one token.
fn single(codec: &TextCodec, text: &str) -> Result<Option<u32>> {
    let ids = encode(codec, text).with_context(|| format!("cannot read the marker {text:?}"))?;
    let [id] = ids[..] else { return Ok(None) };
    // A token that only looks like the marker, such as an unknown one, must not end anything.
    Ok((codec.decode(&ids).as_deref() == Some(text)).then_some(id))
}

/// The text before the first `end`; all of it if `end` is empty or missing.
fn before<'a>(text: &'a str, end: &str) -> &'a str {
    if end.is_empty() { text } else { text.split_once(end).map_or(text, |(before, _)| before) }
}
