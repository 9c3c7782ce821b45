//! Merging of TOML tables: a recipe over its base, and `key=value` settings over both.

use latrace_io::failure::Failure;
use toml::{Table, Value};

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

/// The table of a dotted section.
pub(super) fn section_of<'a>(table: &'a mut Table, section: &str) -> Option<&'a mut Table> {
    section.split('.').try_fold(table, |inner, name| inner.get_mut(name)?.as_table_mut())
}

/// Sets a dotted key, creating the tables that it passes through: a recipe need not mention them.
pub(super) fn set(table: &mut Table, dotted: &str, value: Value) -> Result<(), Failure> {
    let Some((path, key)) = dotted.rsplit_once('.') else {
        table.insert(dotted.to_owned(), value);
        return Ok(());
    };
    let mut inner = table;
    for name in path.split('.') {
        inner = inner_table(inner, name).ok_or_else(|| is_a_value(dotted, name))?;
    }
    inner.insert(key.to_owned(), value);
    Ok(())
}

fn inner_table<'a>(table: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    table.entry(name).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
}

fn is_a_value(dotted: &str, name: &str) -> Failure {
    Failure::usage(format!("{dotted}: \"{name}\" is a value, not a table"))
}
