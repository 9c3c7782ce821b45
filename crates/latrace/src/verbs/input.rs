//! Inputs that several verbs have: a model folder, a file of rows, names of markers.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_core::Markers;
use latrace_engine::ModelShape;
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::rows::{BadRows, Place, Row, RowReader};
use serde_json::Value;

/// A model folder, and what turns texts into its token ids and back.
pub(super) struct ModelInput {
    pub(super) folder: PathBuf,
    pub(super) shape: ModelShape,
    pub(super) text: TextCodec,
}

impl ModelInput {
    /// Opens a model folder, or the model with this hub id. No weights are read: a wrong row is reported
    /// before a large model has been loaded.
    pub(super) fn open(model: &Path) -> Result<ModelInput> {
        let folder = model_folder(model)?;
        let shape = ModelShape::read(&folder)?;
        let text = TextCodec::open(&folder, &shape)?;
        Ok(ModelInput { folder, shape, text })
    }
}

/// Opens a file of rows. Bad rows stop the verb unless they are to be skipped.
pub(super) fn open_rows(data: &Path, skip_bad_rows: bool) -> Result<RowReader> {
    RowReader::open(data, if skip_bad_rows { BadRows::Skip } else { BadRows::Stop })
}

/// The remaining rows of a reader, as `parse` reads them.
pub(super) fn read_rows<T, E: fmt::Display>(
    reader: &mut RowReader,
    mut parse: impl FnMut(Place, Row) -> Result<T, E>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(value) = reader.next_with(&mut parse)? {
        all.push(value);
    }
    Ok(all)
}

/// Warns of skipped rows, for verbs whose last message does not count them.
pub(super) fn warn_of_skipped(reader: &RowReader) {
    if reader.skipped() > 0 {
        tracing::warn!("{} bad rows skipped", reader.skipped());
    }
}

/// The markers of this name, which came with `--markers`.
pub(super) fn markers(name: &str) -> Result<Markers> {
    Ok(Markers::named(name).map_err(|error| Failure::usage(format!("--markers: {error}")))?)
}

/// An id as text: records and random streams name the rows `1` and `"1"` alike.
pub(super) fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
