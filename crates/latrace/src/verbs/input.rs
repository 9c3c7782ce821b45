//! Inputs that several verbs have: a model folder, a file of rows, names of markers.

use std::fmt::Display;
use std::iter::from_fn;
use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_core::Markers;
use latrace_engine::ModelShape;
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::rows::{BadRows, FieldProblem, Place, Row, RowReader};
use latrace_run::recipe::run::MarkerSource;
use serde_json::Value;
use tracing::warn;

/// A count on the command line, of which zero makes no sense.
pub(crate) fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

/// What a row holds, or which of its fields is wrong.
pub(super) type Parsed<T> = Result<T, FieldProblem>;

/// A model folder, and what turns texts into its token ids and back.
pub(super) struct ModelInput {
    pub(super) folder: PathBuf,
    pub(super) shape: ModelShape,
    pub(super) text: TextCodec,
}

impl ModelInput {
    /// Opens a model folder, or the model with this hub id. No weights are read: a wrong row is reported
    /// before a large model has been loaded.
    pub(super) fn open(model: &Path) -> Result<Self> {
        let folder = model_folder(model)?;
        let shape = ModelShape::read(&folder)?;
        let text = TextCodec::open(&folder, &shape)?;
        text.log_begin();
        Ok(Self { text, folder, shape })
    }
}

/// Opens a file of rows. Bad rows stop the verb unless they are to be skipped.
pub(super) fn open_rows(data: &Path, skip_bad_rows: bool) -> Result<RowReader> {
    RowReader::open(data, if skip_bad_rows { BadRows::Skip } else { BadRows::Stop })
}

/// The remaining rows of a reader, as `parse` reads them.
pub(super) fn read_rows<T, E: Display + 'static>(
    rows: &mut RowReader,
    mut parse: impl FnMut(Place, Row) -> Result<T, E>,
) -> Result<Vec<T>> {
    from_fn(|| rows.next_with(&mut parse).transpose()).collect()
}

/// Warns of skipped rows, for verbs whose last message does not count them.
pub(super) fn warn_of_skipped(reader: &RowReader) {
    if reader.skipped() > 0 {
        warn!("{} bad rows skipped", reader.skipped());
    }
}

/// The markers that `--markers` names or states.
pub(super) fn markers(given: &str) -> Result<Markers> {
    let source =
        MarkerSource::parse(given).map_err(|error| Failure::usage(format!("--markers: {error:#}")))?;
    source.markers("--markers")
}

/// An id as text: records and random streams name the rows `1` and `"1"` alike.
pub(super) fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
