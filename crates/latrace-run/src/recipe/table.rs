//! Merging of TOML tables: a recipe over its base, and `key=value` settings over both.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use toml::{Table, Value};

use super::read_table;

/// The file's settings, merged into those of its `base` if it names one.
pub(super) fn with_base(file: &Path) -> Result<Table> {
    let mut table = read_table(file)?;
    let Some(base) = table.remove("base") else { return Ok(table) };
    let base = base.as_str().ok_or_else(|| not_a_name(file, &base))?;
    let path = file.parent().unwrap_or(Path::new("")).join(base);
    let mut whole = with_base(&path).with_context(|| format!("the base of {}", file.display()))?;
    merge(&mut whole, table);
    Ok(whole)
}

fn not_a_name(file: &Path, base: &Value) -> Failure {
    let file = file.display();
    Failure::usage(format!("{file}: base: expected the name of a recipe in the same folder, got {base}"))
}

/// Merges the settings of `over` into `table`, recursively.
pub(super) fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Sets a dotted key.
pub(super) fn set(table: &mut Table, dotted: &str, value: Value) -> Result<()> {
    let (path, key) = dotted.rsplit_once('.').map_or((None, dotted), |(path, key)| (Some(path), key));
    let mut inner = table;
    for name in path.into_iter().flat_map(|path| path.split('.')) {
        let entry = inner.entry(name).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = entry else {
            return Err(Failure::usage(format!("{dotted}: \"{name}\" is a value, not a table")).into());
        };
        inner = next;
    }
    inner.insert(key.to_owned(), value);
    Ok(())
}
