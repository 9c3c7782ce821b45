//! A tokenizer with markers: where a thought ends and its answer begins, on token ids.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Markers, boundary};

use crate::boundary::{ModelShape, StopTexts};
use crate::text_codec::TextCodec;
use latrace_io::failure::Failure;

/// A tokenizer with the markers of one family. Texts become ids here, once; traces z and answers y are cut and
/// joined on ids from then on.
#[derive(Debug)]
pub struct TraceCodec {
    /// The tokenizer.
    pub text: TextCodec,
    /// The tokens that every y begins with: the rest of the closing marker, and the answer's opening marker.
    pub answer_prefix: Vec<u32>,
    markers: Markers,
    /// Tokens that end any text; the first of them ends a row.
    end_ids: Vec<u32>,
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
            let hint = "prompts, hints and markers are texts; put the model's tokenizer.json there";
            return Err(Failure::work(format!("{} has no tokenizer.json", model.display()))
                .hint(hint)
                .into());
        }
        if shape.end_ids.is_empty() {
            let hint = "name it as `eos_token_id` in config.json or generation_config.json";
            return Err(Failure::work(format!(
                "the model in {} has no token that ends a text",
                model.display()
            ))
            .hint(hint)
            .into());
        }
        let (_, rest) = markers.ends();
        let mut codec = TraceCodec {
            text,
            answer_prefix: Vec::new(),
            markers,
            end_ids: shape.end_ids,
            cut_id: None,
            close_id: None,
        };
        codec.answer_prefix = codec.encode(&rest)?;
        codec.cut_id = codec.single(&codec.markers.cut)?;
        codec.close_id = codec.single(codec.markers.answer_close.trim_start())?;
        Ok(codec)
    }

    /// Token ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.text.encode("text", text).map_err(|problem| anyhow::anyhow!("{problem}"))
    }

    /// z of a trace's text: with what closes it.
    pub fn trace_ids(&self, trace: &str) -> Result<Vec<u32>> {
        let (of_trace, _) = self.markers.ends();
        let ids = self.encode(&format!("{trace}{of_trace}"))?;
        let found = self.boundary(&ids);
        if found == Some(ids.len()) {
            Ok(ids)
        } else {
            Err(anyhow::anyhow!("the trace holds {:?} before its end", self.markers.cut))
        }
    }

    /// y of an answer's text: what is given, the answer, its closing marker, and the end of the row.
    pub fn answer_ids(&self, answer: &str) -> Result<Vec<u32>> {
        let answer = self.encode(&format!("{answer}{}", self.markers.answer_close))?;
        Ok([self.answer_prefix.as_slice(), &answer, &self.end_ids[..1]].concat())
    }

    /// How many of `ids` are z: none where the thought has no end.
    pub fn boundary(&self, ids: &[u32]) -> Option<usize> {
        match self.cut_id {
            Some(cut) => ids.iter().position(|&id| id == cut).map(|at| at + 1),
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
        self.text.decode(&ids[..end]).unwrap_or_default()
    }

    /// y as its judge reads it: without markers and end tokens.
    pub fn answer_text(&self, ids: &[u32]) -> String {
        let text = self.response_text(ids);
        let (_, rest) = self.markers.ends();
        let text = text.trim().strip_prefix(rest.trim()).unwrap_or(text.trim());
        let close = self.markers.answer_close.trim();
        let cut = if close.is_empty() { None } else { text.find(close) };
        text[..cut.unwrap_or(text.len())].trim().to_owned()
    }

    /// Tokens that end a trace.
    pub fn trace_end_ids(&self) -> Vec<u32> {
        self.end_ids.iter().copied().chain(self.cut_id).collect()
    }

    /// Texts that end a trace, where the cut is no single token.
    pub fn trace_stops(&self) -> StopTexts {
        StopTexts::new(if self.cut_id.is_some() { Vec::new() } else { vec![self.markers.cut.clone()] })
    }

    /// Tokens that end an answer.
    pub fn answer_end_ids(&self) -> Vec<u32> {
        self.end_ids.iter().copied().chain(self.close_id).collect()
    }

    /// Texts that end an answer, where its closing marker is no single token.
    pub fn answer_stops(&self) -> StopTexts {
        let close = self.markers.answer_close.trim_start();
        StopTexts::new(if self.close_id.is_some() || close.is_empty() {
            Vec::new()
        } else {
            vec![close.to_owned()]
        })
    }

    /// The id of a text that is one token.
    fn single(&self, text: &str) -> Result<Option<u32>> {
        let ids = self.encode(text).with_context(|| format!("cannot read the marker {text:?}"))?;
        // A token that only looks like the marker, such as an unknown one, must not end anything.
        Ok(ids
            .first()
            .copied()
            .filter(|_| ids.len() == 1 && self.text.decode(&ids).is_some_and(|decoded| decoded == text)))
    }
}
