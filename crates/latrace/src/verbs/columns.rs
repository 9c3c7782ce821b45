//! The option by which rows are read under other names.

use clap::Args;
use latrace_io::columns::{Columns, pair};

/// The option by which rows are read under other names.
#[derive(Args, Clone, Debug, Default)]
pub struct ColumnArguments {
    /// A field read from another, such as prompt=question; lists join with `+`:
    /// prompt_ids=prompt_ids+token_ids
    #[arg(long, value_name = "OURS=THEIRS", value_parser = pair)]
    column: Vec<(String, String)>,
}

impl ColumnArguments {
    /// The names as readers of rows take them.
    pub fn columns(&self) -> Columns {
        Columns::new(self.column.clone())
    }
}
