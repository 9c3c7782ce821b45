//! Input and output: rows of data files, typed tables, model folders, the hub, progress and failures.
//!
//! Knows files and formats, never a model's arithmetic, a recipe or a command line.

pub mod clock;
pub mod columnar;
pub mod columns;
pub mod difference;
pub mod failure;
pub mod files;
pub mod http;
pub mod hub;
pub mod journal;
pub mod machine;
pub mod memory;
pub mod model_folder;
pub mod progress;
pub mod rows;
pub mod settings;
pub mod stdout;
pub mod table;
pub mod tensorboard;
pub mod text_table;
pub mod words;
