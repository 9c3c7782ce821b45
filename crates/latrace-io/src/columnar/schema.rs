//! A file's fields as values nest in them, whichever way the file's writer spells lists and maps.
//!
//! Follows the rules of the Parquet format for lists and maps, those of backward compatibility included
//! (<https://github.com/apache/parquet-format/blob/master/LogicalTypes.md>, "Nested Types"). Differs in: a
//! map without values is a list of its keys.

use std::collections::HashSet;
use std::fmt;

use anyhow::{Context, Result, bail};
use parquet::basic::{ConvertedType, Repetition};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::scalar::Scalar;

/// A field, with the levels that tell whether it is there.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether it may be null.
    pub optional: bool,
    /// The definition level of a value that is not null; that of an empty list too.
    pub definition: i16,
    /// What its values are.
    pub kind: FieldKind,
}

/// What a field's values are.
#[derive(Clone, Debug)]
pub enum FieldKind {
    /// Scalars, in the leaf column of that number.
    Scalar(Scalar, usize),
    /// Lists.
    List(Box<ListField>),
    /// Objects of these fields.
    Struct(Vec<Field>),
}

/// Lists, or maps as lists of their entries.
#[derive(Clone, Debug)]
pub struct ListField {
    /// The repetition level of an item that is not its list's first.
    pub repetition: i16,
    /// The items; the keys of a map.
    pub item: Field,
    /// The values of a map.
    pub value: Option<Field>,
}

impl fmt::Display for Field {
    /// Its type in words; names of fields within it do not matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FieldKind::Scalar(scalar, _) => write!(f, "{scalar}")?,
            FieldKind::List(list) => match &list.value {
                Some(value) => write!(f, "maps of {} to {value}", list.item)?,
                None => write!(f, "lists of {}", list.item)?,
            },
            FieldKind::Struct(_) => write!(f, "objects")?,
        }
        if self.optional { write!(f, " or null") } else { Ok(()) }
    }
}

impl Field {
    /// The first leaf column of its values.
    pub fn first_leaf(&self) -> usize {
        match &self.kind {
            FieldKind::Scalar(_, leaf) => *leaf,
            FieldKind::List(list) => list.item.first_leaf(),
            FieldKind::Struct(fields) => fields.first().map_or(0, Field::first_leaf),
        }
    }
}

/// The fields of a file.
///
/// # Errors
/// A type that is not valid, named by its column.
pub(crate) fn fields_of(schema: &SchemaDescriptor) -> Result<Vec<Field>> {
    let mut walk = Walk { next_leaf: 0 };
    let mut fields = Vec::new();
    check_names(schema.root_schema().get_fields())?;
    for field in schema.root_schema().get_fields() {
        let read = walk.field(field, Levels::default());
        fields.extend(read.with_context(|| format!("column \"{}\"", field.name()))?);
    }
    Ok(fields)
}

/// Of two fields of one name, a row would have the last one's value alone.
fn check_names(fields: &[TypePtr]) -> Result<()> {
    let mut seen = HashSet::new();
    match fields.iter().find(|field| !seen.insert(field.name())) {
        Some(twice) => bail!("expected columns of different names, got two of the name \"{}\"", twice.name()),
        None => Ok(()),
    }
}

/// The levels around a field.
#[derive(Clone, Copy, Default)]
struct Levels {
    definition: i16,
    repetition: i16,
}

impl Levels {
    fn optional(self, optional: bool) -> Levels {
        Levels { definition: self.definition + i16::from(optional), ..self }
    }

    /// Those of a repeated field's items.
    fn repeated(self) -> Levels {
        Levels { definition: self.definition + 1, repetition: self.repetition + 1 }
    }
}

/// Counts leaf columns on the way through a schema.
struct Walk {
    next_leaf: usize,
}

impl Walk {
    /// A field; `None` for a group without fields, which has no column.
    fn field(&mut self, kind: &Type, around: Levels) -> Result<Option<Field>> {
        if is_repeated(kind) {
            // Without an annotation around it, a repeated field is a list of what it is.
            let item = self.value(kind, around.repeated(), false)?;
            return Ok(item.map(|item| list(kind.name(), around, false, item, None)));
        }
        let optional = kind.get_basic_info().repetition() == Repetition::OPTIONAL;
        self.value(kind, around.optional(optional), optional)
    }

    /// A field once its own repetition is part of `levels`.
    fn value(&mut self, kind: &Type, levels: Levels, optional: bool) -> Result<Option<Field>> {
        if kind.is_primitive() {
            return self.scalar(kind, levels, optional).map(Some);
        }
        match kind.get_basic_info().converted_type() {
            ConvertedType::LIST => self.list(kind, levels, optional),
            // Some writers put the annotation of the entries on the map itself.
            ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => self.map(kind, levels, optional),
            _ => self.object(kind, levels, optional),
        }
    }

    fn scalar(&mut self, kind: &Type, levels: Levels, optional: bool) -> Result<Field> {
        // A file numbers its leaf columns in the order of this walk.
        let leaf = self.next_leaf;
        self.next_leaf += 1;
        let scalar = Scalar::of(kind).with_context(|| format!("the type {kind:?} is not supported"))?;
        let definition = levels.definition;
        Ok(Field {
            name: kind.name().to_owned(),
            optional,
            definition,
            kind: FieldKind::Scalar(scalar, leaf),
        })
    }

    fn object(&mut self, kind: &Type, levels: Levels, optional: bool) -> Result<Option<Field>> {
        let mut fields = Vec::new();
        check_names(kind.get_fields())?;
        for field in kind.get_fields() {
            fields.extend(self.field(field, levels)?);
        }
        let definition = levels.definition;
        let name = kind.name().to_owned();
        Ok((!fields.is_empty()).then_some(Field {
            name,
            optional,
            definition,
            kind: FieldKind::Struct(fields),
        }))
    }

    fn list(&mut self, kind: &Type, levels: Levels, optional: bool) -> Result<Option<Field>> {
        let repeated = repeated_of(kind)?;
        let item = match item_within(kind, repeated) {
            Some(item) => self.field(item, levels.repeated())?,
            None if repeated.is_primitive() => self.value(repeated, levels.repeated(), false)?,
            // An annotation of the items themselves is that of the list around them.
            None => self.object(repeated, levels.repeated(), false)?,
        };
        Ok(item.map(|item| list(kind.name(), levels, optional, item, None)))
    }

    fn map(&mut self, kind: &Type, levels: Levels, optional: bool) -> Result<Option<Field>> {
        let entry = repeated_of(kind)?;
        let [key, value] = (match entry.is_group() {
            true if entry.get_fields().len() == 1 => return self.list(kind, levels, optional),
            true => entry.get_fields(),
            false => &[],
        }) else {
            bail!("expected a map of keys and values");
        };
        let key = self.field(key, levels.repeated())?.context("expected a map with keys")?;
        // A map is read as a JSON object, whose keys are texts.
        if !matches!(key.kind, FieldKind::Scalar(Scalar::Text, _)) {
            bail!("expected a map whose keys are text, got {key}");
        }
        let value = self.field(value, levels.repeated())?.context("expected a map with values")?;
        Ok(Some(list(kind.name(), levels, optional, key, Some(value))))
    }
}

fn list(name: &str, levels: Levels, optional: bool, item: Field, value: Option<Field>) -> Field {
    let kind = FieldKind::List(Box::new(ListField { repetition: levels.repetition + 1, item, value }));
    Field { name: name.to_owned(), optional, definition: levels.definition, kind }
}

fn is_repeated(kind: &Type) -> bool {
    kind.get_basic_info().repetition() == Repetition::REPEATED
}

/// The repeated field of a list or map.
fn repeated_of(kind: &Type) -> Result<&Type> {
    match kind.get_fields() {
        [repeated] if is_repeated(repeated) => Ok(repeated),
        _ => bail!("expected a list or map with one repeated field"),
    }
}

/// The item within a list's repeated field; `None` if that field is the item, as old writers have it.
fn item_within<'a>(list: &Type, repeated: &'a Type) -> Option<&'a Type> {
    if repeated.is_primitive() {
        return None;
    }
    let [item] = repeated.get_fields() else { return None };
    let is_list = repeated.get_basic_info().converted_type() == ConvertedType::LIST;
    let is_wrapped = is_list || is_repeated(item);
    // The names by which the format tells the lists of old writers, Avro's and Thrift's: a struct of one field
    // would otherwise lose its level.
    let is_item = repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    (is_wrapped || !is_item).then_some(item)
}
