//! Rows of JSON put together from columns.
//!
//! Follows Melnik et al., Dremel (2010), "Record Assembly": a field's entries say by their levels which of
//! the values around it are there, and where lists begin.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::Row;
use crate::columnar::{Field, FieldKind, LeafReader, NextRow, RowGroup};

/// Opens a row group's columns.
///
/// # Errors
/// A column that cannot be read.
pub(super) fn open(group: &RowGroup<'_>, fields: &[Field]) -> Result<NextRow<Row>> {
    let mut nodes = open_all(group, fields)?;
    Ok(Box::new(move || read_all(&mut nodes, Node::read_column)))
}

fn open_all(group: &RowGroup<'_>, fields: &[Field]) -> Result<Vec<Node>> {
    fields.iter().map(|field| Node::open(group, field)).collect()
}

fn read_all(nodes: &mut [Node], read: impl Fn(&mut Node) -> Result<Value>) -> Result<Row> {
    nodes.iter_mut().map(|node| Ok((node.name.clone(), read(node)?))).collect()
}

/// A field with the columns of its values.
struct Node {
    name: String,
    /// The definition level of a value that is not null.
    definition: i16,
    values: Values,
}

enum Values {
    Scalars(LeafReader),
    Objects(Vec<Node>),
    Lists {
        /// The repetition level of a list's second item.
        repetition: i16,
        item: Box<Node>,
        /// The values of a map, whose keys are the items.
        value: Option<Box<Node>>,
    },
}

impl Node {
    fn open(group: &RowGroup<'_>, field: &Field) -> Result<Node> {
        let values = match &field.kind {
            FieldKind::Scalar(scalar, leaf) => {
                let leaf = LeafReader::open(group, *scalar, *leaf);
                Values::Scalars(leaf.with_context(|| format!("column \"{}\"", field.name))?)
            }
            FieldKind::Struct(fields) => Values::Objects(open_all(group, fields)?),
            FieldKind::List(list) => Values::Lists {
                repetition: list.repetition,
                item: Box::new(Node::open(group, &list.item)?),
                value: list.value.as_ref().map(|value| Node::open(group, value).map(Box::new)).transpose()?,
            },
        };
        Ok(Node { name: field.name.clone(), definition: field.definition, values })
    }

    /// The next value of a row's field, which an error names.
    fn read_column(&mut self) -> Result<Value> {
        let value = self.read();
        value.with_context(|| format!("column \"{}\"", self.name))
    }

    /// The next value.
    fn read(&mut self) -> Result<Value> {
        let (definition, _) = self.levels()?.context("a column has fewer rows than its row group")?;
        match &mut self.values {
            // Before the test for null: a leaf makes that test itself, and has one entry either way.
            Values::Scalars(leaf) => leaf.take(),
            _ if definition < self.definition => {
                self.skip()?;
                Ok(Value::Null)
            }
            Values::Objects(fields) => read_all(fields, Node::read).map(Value::Object),
            Values::Lists { value, .. } if definition == self.definition => {
                let empty = if value.is_some() { Value::Object(Map::new()) } else { Value::Array(vec![]) };
                self.skip()?;
                Ok(empty)
            }
            Values::Lists { repetition, item, value: Some(value) } => read_map(*repetition, item, value),
            Values::Lists { repetition, item, value: None } => read_list(*repetition, item),
        }
    }

    /// Levels of the next entry of the first column; those of the others agree as far as this field goes.
    fn levels(&mut self) -> Result<Option<(i16, i16)>> {
        match &mut self.values {
            Values::Scalars(leaf) => leaf.levels(),
            Values::Objects(fields) => fields.first_mut().map_or(Ok(None), Node::levels),
            Values::Lists { item, .. } => item.levels(),
        }
    }

    /// Whether the next entry belongs to a list of which an item has been read.
    fn continues(&mut self, repetition: i16) -> Result<bool> {
        Ok(self.levels()?.is_some_and(|(_, next)| next >= repetition))
    }

    /// Passes the entry that each column has in place of a value that is not there.
    fn skip(&mut self) -> Result<()> {
        match &mut self.values {
            Values::Scalars(leaf) => leaf.take().map(|_| ()),
            Values::Objects(fields) => fields.iter_mut().try_for_each(Node::skip),
            Values::Lists { item, value, .. } => {
                item.skip()?;
                value.as_mut().map_or(Ok(()), |value| value.skip())
            }
        }
    }
}

fn read_list(repetition: i16, item: &mut Node) -> Result<Value> {
    let mut items = vec![item.read()?];
    while item.continues(repetition)? {
        items.push(item.read()?);
    }
    Ok(Value::Array(items))
}

fn read_map(repetition: i16, key: &mut Node, value: &mut Node) -> Result<Value> {
    let mut entries = Map::new();
    loop {
        let name = match key.read()? {
            Value::String(name) => name,
            other => anyhow::bail!("expected a text as a map's key, got {other}"),
        };
        entries.insert(name, value.read()?);
        if !key.continues(repetition)? {
            return Ok(Value::Object(entries));
        }
    }
}
