//! Columns of Parquet files: their types, and their values row by row.
//!
//! Lists of numbers come out as slices; only what becomes a row of JSON is handled value by value.

mod file;
mod guard;
mod leaf;
mod lists;
mod rows;
mod scalar;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
mod text;

pub use file::{ParquetFile, RowGroup};
pub use leaf::LeafReader;
pub use lists::{FloatListReader, ListReader, ListRow};
pub use rows::{NextRow, Rows};
pub use scalar::Scalar;
pub(crate) use schema::fields_of;
pub use schema::{Field, FieldKind, ListField};
