//! The commit, and what the hub says beforehand of the files in it.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::digest::{Digest, git_oid};
use super::session::{Session, UploadError};
use super::{UploadFile, UploadTarget};

/// How a file gets into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Within the commit.
    Regular,
    /// Beside it, as an object of Git LFS.
    Lfs,
    /// Not at all: the repository's own list of ignored files has it.
    Ignored,
    /// Not at all: the branch has it as it is.
    Unchanged,
}

#[derive(Deserialize)]
struct Ways {
    files: Vec<WayOf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WayOf {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
    /// What the branch has under this path: of an object of Git LFS its SHA-256, of another file its name in Git.
    oid: Option<String>,
}

/// Asks how files get into the repository.
///
/// # Errors
/// What the hub refuses; a reply that leaves a file out.
pub fn ways(
    session: &Session,
    path: &str,
    files: &[UploadFile],
    digests: &[Digest],
) -> Result<Vec<Way>, UploadError> {
    let asked = files.iter().zip(digests).map(|(file, digest)| {
        json!({"path": file.name, "size": file.size, "sample": STANDARD.encode(&digest.sample), "sha": digest.sha256})
    });
    let reply = session.post(path, &json!({"files": asked.collect::<Vec<Value>>()}))?;
    let known = reply.json::<Ways>()?.files;
    let way = |(file, digest): (&UploadFile, &Digest)| {
        let of = known.iter().find(|of| of.path == file.name);
        let of = of.ok_or_else(|| reply.unusable(format!("{} is not in the reply", file.name)))?;
        let way = match of.upload_mode.as_str() {
            _ if of.should_ignore => return Ok(Way::Ignored),
            // An empty object is refused by storages.
            "lfs" if file.size > 0 => Way::Lfs,
            "lfs" | "regular" => Way::Regular,
            other => return Err(reply.unusable(format!("{}: unknown way {other:?}", file.name))),
        };
        let is_there = of.oid.is_some() && of.oid == Some(oid(file, digest, way)?);
        Ok(if is_there { Way::Unchanged } else { way })
    };
    files.iter().zip(digests).map(way).collect()
}

/// The name by which the hub knows a file that gets in this way.
fn oid(file: &UploadFile, digest: &Digest, way: Way) -> Result<String, UploadError> {
    Ok(if way == Way::Lfs { digest.sha256.clone() } else { git_oid(&read(file)?) })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_url: String,
}

/// Creates the commit, and gives the address of its page. Once: where a reply is lost, the commit may exist.
///
/// # Errors
/// What the hub refuses; files that cannot be read.
pub fn create(
    session: &Session,
    target: &UploadTarget,
    files: &[UploadFile],
    digests: &[Digest],
    ways: &[Way],
) -> Result<String, UploadError> {
    let header = json!({"key": "header", "value": {"summary": target.message, "description": ""}});
    let mut lines = vec![header];
    for ((file, digest), way) in files.iter().zip(digests).zip(ways) {
        lines.extend(line(file, digest, *way)?);
    }
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let path = format!("api/models/{}/commit/{}", target.id, target.escaped_revision());
    let reply = session.post_once(&session.url(&path), "application/x-ndjson", body.as_bytes())?;
    Ok(reply.json::<Committed>()?.commit_url)
}

/// The line of a file; none for one that the repository ignores, or has.
fn line(file: &UploadFile, digest: &Digest, way: Way) -> Result<Option<Value>, UploadError> {
    let UploadFile { name, size, .. } = file;
    Ok(match way {
        Way::Regular => {
            let content = STANDARD.encode(read(file)?);
            let value = json!({"path": name, "encoding": "base64", "content": content});
            Some(json!({"key": "file", "value": value}))
        }
        Way::Lfs => {
            let value = json!({"path": name, "algo": "sha256", "oid": digest.sha256, "size": size});
            Some(json!({"key": "lfsFile", "value": value}))
        }
        Way::Ignored => {
            tracing::warn!("{name} is left out: the repository ignores it");
            None
        }
        Way::Unchanged => None,
    })
}

fn read(file: &UploadFile) -> Result<Vec<u8>, UploadError> {
    let unreadable = |source| UploadError::Unreadable { file: file.path.display().to_string(), source };
    fs::read(&file.path).map_err(unreadable)
}
