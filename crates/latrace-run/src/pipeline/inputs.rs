//! The folders that a stage reads, by what they are to it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::folder::Done;
use crate::plan::{Node, Role};

/// The input folders of a stage.
#[derive(Debug)]
pub struct Inputs(Vec<(Role, PathBuf)>);

impl Inputs {
    /// The inputs of a node among the finished stages of its plan.
    pub fn of(node: &Node, done: &[Option<Done>]) -> Inputs {
        let folder = |&(role, id): &(Role, usize)| Some((role, done.get(id)?.as_ref()?.folder.clone()));
        Inputs(node.inputs.iter().filter_map(folder).collect())
    }

    /// The folder of a required input.
    ///
    /// # Errors
    /// The plan does not provide it.
    pub fn folder(&self, role: Role) -> Result<&Path> {
        self.optional(role).with_context(|| format!("the plan gives the stage no {}", role.name()))
    }

    /// The folder of an optional input.
    pub fn optional(&self, role: Role) -> Option<&Path> {
        self.0.iter().find(|(known, _)| *known == role).map(|(_, folder)| folder.as_path())
    }
}
