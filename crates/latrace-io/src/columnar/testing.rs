//! Files written value by value, for tests of reading.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::DataType;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

/// Writes a column.
pub(crate) type Column<'a> = Box<dyn Fn(&mut SerializedColumnWriter<'_>) + 'a>;

/// A column of values under levels, none of which are given where the column has none.
pub(crate) fn column<'a, T: DataType>(
    values: &'a [T::T],
    definitions: &'a [i16],
    repetitions: &'a [i16],
) -> Column<'a> {
    let levels = |levels: &'a [i16]| (!levels.is_empty()).then_some(levels);
    let (definitions, repetitions) = (levels(definitions), levels(repetitions));
    Box::new(move |writer| {
        writer.typed::<T>().write_batch(values, definitions, repetitions).unwrap();
    })
}

/// Writes a file of fields, spelt as in a Parquet schema, with the columns of each row group.
pub(crate) fn write_file(path: &Path, fields: &str, metadata: &[(&str, &str)], groups: &[&[Column<'_>]]) {
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {fields} }}")).unwrap());
    let metadata =
        metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata)).build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in *columns {
            let mut writer = group.next_column().unwrap().unwrap();
            column(&mut writer);
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}
