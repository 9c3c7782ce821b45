//! Objects of Git LFS: large files, stored beside the commits that name them by their SHA-256.
//!
//! The batch interface and the basic transfer are Git LFS's; the transfer in parts is the hub's own.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};

use serde::Deserialize;
use serde_json::{Value, json};

use super::digest::Digest;
use super::session::{Reply, Session, UploadError, persistently};
use super::{BATCH, UploadFile, UploadTarget, megabytes};
use crate::progress::SharedProgress;

/// The type of Git LFS's requests and replies.
const LFS: &str = "application/vnd.git-lfs+json";

/// The field among an upload's headers with the size of its parts; those with the parts' addresses are numbers.
const CHUNK_SIZE: &str = "chunk_size";

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    message: String,
}

#[derive(Default, Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// Uploads the files that the hub does not have: how many those are, and how many it has.
///
/// # Errors
/// What the hub or its storage refuses; files that cannot be read.
pub fn upload(
    session: &Session,
    target: &UploadTarget,
    files: &[(&UploadFile, &Digest)],
) -> Result<(usize, usize), UploadError> {
    // Files with the same contents are one object.
    let mut seen = BTreeSet::new();
    let distinct: Vec<_> = files.iter().filter(|(_, digest)| seen.insert(&digest.sha256)).collect();
    let mut missing = Vec::new();
    for files in distinct.chunks(BATCH) {
        missing.extend(missing_of(session, target, files)?);
    }
    let progress = megabytes("MB uploaded", missing.iter().map(|(file, ..)| file.size).sum());
    for (file, digest, actions) in &missing {
        let object = Sending { session, file, digest, progress: &progress };
        object.send(actions)?;
    }
    progress.finish();
    Ok((missing.len(), distinct.len() - missing.len()))
}

type Missing<'a> = (&'a UploadFile, &'a Digest, Actions);

/// The files that the hub does not have, with what it wants done.
fn missing_of<'a>(
    session: &Session,
    target: &UploadTarget,
    files: &[&(&'a UploadFile, &'a Digest)],
) -> Result<Vec<Missing<'a>>, UploadError> {
    let objects = files.iter().map(|(file, digest)| json!({"oid": digest.sha256, "size": file.size}));
    let body = json!({
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "hash_algo": "sha256",
        "ref": {"name": target.revision},
        "objects": objects.collect::<Vec<Value>>(),
    });
    let url = session.url(&format!("{}.git/info/lfs/objects/batch", target.id));
    let reply = persistently(|| session.post_once(&url, LFS, body.to_string().as_bytes()))?;
    let mut objects: BTreeMap<String, Object> =
        reply.json::<Batch>()?.objects.into_iter().map(|object| (object.oid.clone(), object)).collect();
    let mut missing = Vec::new();
    for (file, digest) in files {
        let object = objects.remove(&digest.sha256);
        let object = object.ok_or_else(|| reply.unusable(format!("{} is not in the reply", file.name)))?;
        if let Some(ObjectError { message }) = object.error {
            return Err(reply.unusable(format!("{}: {message}", file.name)));
        }
        // Without anything to do, the hub has it.
        missing.extend(
            object.actions.filter(|to_do| to_do.upload.is_some()).map(|to_do| (*file, *digest, to_do)),
        );
    }
    Ok(missing)
}

/// An object that is being sent.
struct Sending<'a> {
    session: &'a Session,
    file: &'a UploadFile,
    digest: &'a Digest,
    progress: &'a SharedProgress,
}

impl Sending<'_> {
    fn send(&self, Actions { upload, verify }: &Actions) -> Result<(), UploadError> {
        let Some(upload) = upload else { return Ok(()) };
        match upload.header.get(CHUNK_SIZE) {
            Some(size) => self.in_parts(upload, size)?,
            None => {
                let headers: Vec<(String, String)> = texts(&upload.header);
                self.put(&upload.href, &headers, 0, self.file.size)?;
            }
        }
        let Some(verify) = verify else { return Ok(()) };
        let body = json!({"oid": self.digest.sha256, "size": self.file.size}).to_string();
        persistently(|| self.session.post_once(&verify.href, LFS, body.as_bytes())).map(drop)
    }

    /// Sends each part to its own address, and then says that all are there.
    fn in_parts(&self, upload: &Action, size: &Value) -> Result<(), UploadError> {
        let size = size.as_u64().or_else(|| size.as_str()?.parse().ok()).filter(|&size| size > 0);
        let addresses = part_addresses(&upload.header);
        let size = size.filter(|size| self.file.size.div_ceil(*size) == addresses.len() as u64);
        let Some(size) = size else { return Err(self.unusable(upload, "its parts do not make up the file")) };
        let mut parts = Vec::new();
        for ((number, address), start) in addresses.iter().zip((0..).step_by(size as usize)) {
            let reply = self.put(address, &[], start, size.min(self.file.size - start))?;
            let etag = reply.etag.as_ref();
            let etag = etag.ok_or_else(|| reply.unusable("a part was stored without a tag".to_owned()))?;
            parts.push(json!({"partNumber": number, "etag": etag}));
        }
        let body = json!({"oid": self.digest.sha256, "parts": parts}).to_string();
        persistently(|| self.session.post_signed(&upload.href, LFS, body.as_bytes())).map(drop)
    }

    /// Puts a part of the file, from its own beginning in each attempt.
    fn put(
        &self,
        url: &str,
        headers: &[(String, String)],
        start: u64,
        length: u64,
    ) -> Result<Reply, UploadError> {
        let unreadable =
            |source| UploadError::Unreadable { file: self.file.path.display().to_string(), source };
        let furthest = Cell::new(start);
        persistently(|| {
            let mut file = File::open(&self.file.path).map_err(unreadable)?;
            file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
            let (progress, file) = (self.progress, file.take(length));
            let mut reader = Counted { file, at: start, furthest: &furthest, progress };
            self.session.put_once(url, headers, &mut reader, length)
        })
    }

    fn unusable(&self, upload: &Action, reason: &str) -> UploadError {
        let url = upload.href.split('?').next().unwrap_or_default().to_owned();
        UploadError::Unanswered { url, reason: format!("{}: {reason}", self.file.name) }
    }
}

/// The headers that are texts.
fn texts(header: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    header.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// The addresses of the parts, by their numbers.
fn part_addresses(header: &BTreeMap<String, Value>) -> BTreeMap<u64, &str> {
    header.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?))).collect()
}

/// Reads a part of a file, and counts what no earlier attempt has read.
struct Counted<'a> {
    file: Take<File>,
    at: u64,
    furthest: &'a Cell<u64>,
    progress: &'a SharedProgress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.at += count as u64;
        let before = self.furthest.get();
        self.furthest.set(before.max(self.at));
        self.progress.advance((self.furthest.get() >> 20) - (before >> 20));
        Ok(count)
    }
}
