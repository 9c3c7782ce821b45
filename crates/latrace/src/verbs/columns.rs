//! The option that renames columns of input rows.

use clap::Args;
use latrace_io::columns::{Columns, pair};

/// The option that renames columns of input rows.
#[derive(Args, Clone, Debug, Default)]
pub struct ColumnArguments {
    /// Read a field from another column, such as prompt=question; `+` concatenates lists:
    /// prompt_ids=prompt_ids+token_ids
    #[arg(long, value_name = "OURS=THEIRS", value_parser = pair)]
    column: Vec<(String, String)>,
}

impl ColumnArguments {
    /// The renames, in the form that row readers take.
    pub fn columns(&self) -> Columns {
        Columns::new(self.column.clone())
    }
}
