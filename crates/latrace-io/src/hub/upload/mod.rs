//! Uploads to the hub: a folder of files becomes one commit of a model repository.
//!
//! Follows the hub's public HTTP interface: the repository is created unless it exists, the hub says of each file whether
//! it goes into the commit or is stored beside it (Git LFS), those are uploaded unless the hub has them, and one commit
//! names all that the branch does not have as they are; none is made where it has all of them. So an upload that was
//! interrupted goes on with the files that are missing.
//!
//! Differs from `huggingface_hub` in: no pull requests, no Xet, one file at a time.

mod commit;
mod digest;
mod lfs;
mod session;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::Hub;
use super::cache::files_under;
use super::repository::{Repository, RepositoryKind};
use crate::failure::Failure;
use crate::progress::{Progress, SharedProgress};
use commit::Way;
use digest::Digest;
use session::{Session, UploadError};

/// Files whose ways the hub is asked for at a time.
const BATCH: usize = 256;

/// The branch of a repository that is not given another.
const MAIN: &str = "main";

/// Where files are uploaded to, and with which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadTarget {
    /// `org/name`.
    pub id: String,
    /// The branch.
    pub revision: String,
    /// Whether the repository is to be private.
    pub private: bool,
    /// The commit's message.
    pub message: String,
}

impl UploadTarget {
    /// A target, by default on the main branch.
    ///
    /// # Errors
    /// What cannot be the name of a repository or of a branch.
    pub fn new(id: &str, revision: Option<&str>, private: bool, message: String) -> Result<UploadTarget> {
        let revision = revision.unwrap_or(MAIN);
        let parsed = Repository::parse(RepositoryKind::Model, &format!("{id}@{revision}"));
        // An id with a revision of its own would have two.
        let parsed = parsed.filter(|parsed| parsed.id == id && parsed.revision == revision);
        let Repository { id, revision, .. } = parsed.ok_or_else(|| no_target(id, revision))?;
        Ok(UploadTarget { id, revision, private, message })
    }

    /// The branch as part of a URL's path.
    fn escaped_revision(&self) -> String {
        self.revision.replace('/', "%2F")
    }
}

fn no_target(id: &str, revision: &str) -> Failure {
    Failure::usage(format!("expected a repository org/name and a branch, got {id:?} and {revision:?}"))
        .hint("latrace push RUN org/name --revision BRANCH")
}

/// A file to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path in the repository.
    pub name: String,
    /// Its size (bytes).
    pub size: u64,
}

/// The files of a folder and of those below it, by name.
///
/// # Errors
/// A file that cannot be read.
pub fn upload_files(folder: &Path) -> Result<Vec<UploadFile>> {
    let file = |name: String| {
        let path = folder.join(&name);
        let size = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        Ok(UploadFile { path, name, size })
    };
    let mut names = files_under(folder);
    names.sort();
    names.into_iter().map(file).collect()
}

/// What an upload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// A commit.
    Committed {
        /// Its page.
        url: String,
        /// Large files that were uploaded.
        uploaded: usize,
        /// Large files that the hub had, among those that the branch had not.
        known: usize,
        /// Files that the branch had already.
        unchanged: usize,
    },
    /// Nothing: the branch has all files as they are.
    NothingToDo,
}

/// Uploads files as one commit, with the token of the environment. What the hub has is not sent again, and where the branch
/// has all of them there is no commit.
///
/// # Errors
/// No token; `HF_HUB_OFFLINE`; a repository that is public and should be private; what the hub refuses; a hub that cannot
/// be reached, even after some attempts.
pub fn upload(files: &[UploadFile], target: &UploadTarget) -> Result<UploadOutcome> {
    let client = Hub::from_environment()?.client.ok_or_else(offline)?;
    let token = client.token().ok_or_else(no_token)?.to_owned();
    let session = Session::new(client.endpoint().to_owned(), token);
    let upload = Upload { session: &session, target };
    upload.run(files).map_err(|error| refused(target, error))
}

fn offline() -> Failure {
    Failure::work("HF_HUB_OFFLINE is set, so nothing can be uploaded").hint("unset it")
}

fn no_token() -> Failure {
    Failure::work("there is no token for the hub").hint("set HF_TOKEN to a token that may write")
}

fn refused(target: &UploadTarget, error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<UploadError>() {
        None => return error,
        Some(UploadError::Refused { status: 401 | 403, .. }) => {
            format!("HF_TOKEN must be a token that may write to {}", target.id)
        }
        Some(UploadError::Refused { status: 404, .. }) => {
            "check the spelling of org/name, and that the token may see it".to_owned()
        }
        Some(_) => "the same command goes on: files that the hub has are not sent again".to_owned(),
    };
    Failure::work(format!("cannot upload to {}: {error}", target.id)).hint(hint).into()
}

struct Upload<'a> {
    session: &'a Session,
    target: &'a UploadTarget,
}

impl Upload<'_> {
    fn run(&self, files: &[UploadFile]) -> Result<UploadOutcome> {
        self.create_repository()?;
        self.create_branch()?;
        let digests: Vec<Digest> = digests(files)?;
        let ways = self.ways(files, &digests)?;
        let unchanged = ways.iter().filter(|way| **way == Way::Unchanged).count();
        // A commit without a file would say that something was changed.
        if !ways.iter().any(|way| matches!(way, Way::Regular | Way::Lfs)) {
            return Ok(UploadOutcome::NothingToDo);
        }
        let large: Vec<(&UploadFile, &Digest)> = files
            .iter()
            .zip(&digests)
            .zip(&ways)
            .filter_map(|(of, way)| (*way == Way::Lfs).then_some(of))
            .collect();
        let (uploaded, known) = lfs::upload(self.session, self.target, &large)?;
        let url = commit::create(self.session, self.target, files, &digests, &ways)?;
        Ok(UploadOutcome::Committed { url, uploaded, known, unchanged })
    }

    fn create_repository(&self) -> Result<()> {
        let UploadTarget { id, private, .. } = self.target;
        let Some((organization, name)) = id.split_once('/') else { return Err(no_target(id, MAIN).into()) };
        let body = json!({"type": "model", "organization": organization, "name": name, "private": private});
        match self.session.post("api/repos/create", &body) {
            Ok(_) => Ok(()),
            // It is there already, or the token may write to it but create none.
            Err(error @ UploadError::Refused { status: 403 | 409, .. }) => self.check_existing(error),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails with `error` unless the repository exists, and if it shows to all what should be private.
    fn check_existing(&self, error: UploadError) -> Result<()> {
        #[derive(Deserialize)]
        struct Existing {
            private: bool,
        }
        let UploadTarget { id, private, .. } = self.target;
        let found = self.session.get(&format!("api/models/{id}"));
        let Ok(existing) = found.and_then(|reply| reply.json::<Existing>()) else { return Err(error.into()) };
        if *private && !existing.private {
            let hint = "make it private on its page first, or choose another name";
            return Err(Failure::work(format!("{id} exists, and is public")).hint(hint).into());
        }
        Ok(())
    }

    fn create_branch(&self) -> Result<(), UploadError> {
        if self.target.revision == MAIN {
            return Ok(());
        }
        let path = format!("api/models/{}/branch/{}", self.target.id, self.target.escaped_revision());
        match self.session.post(&path, &json!({})) {
            Ok(_) | Err(UploadError::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How each file gets into the repository, as the hub says.
    fn ways(&self, files: &[UploadFile], digests: &[Digest]) -> Result<Vec<Way>> {
        let path = format!("api/models/{}/preupload/{}", self.target.id, self.target.escaped_revision());
        let mut ways = Vec::new();
        for (files, digests) in files.chunks(BATCH).zip(digests.chunks(BATCH)) {
            ways.extend(commit::ways(self.session, &path, files, digests)?);
        }
        Ok(ways)
    }
}

fn digests(files: &[UploadFile]) -> Result<Vec<Digest>> {
    let progress = megabytes("MB read", files.iter().map(|file| file.size).sum());
    let digests = files.iter().map(|file| Digest::of(file, &progress)).collect();
    progress.finish();
    digests
}

/// Progress over so many bytes, in megabytes.
fn megabytes(what: &'static str, bytes: u64) -> SharedProgress {
    SharedProgress::new(Progress::new(what, 0, Some(bytes >> 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_repository_and_a_branch() {
        let target = |id, revision| UploadTarget::new(id, revision, false, String::new());
        assert_eq!(target("org/name", None).unwrap().revision, "main");
        assert_eq!(target("org/name", Some("a/b")).unwrap().escaped_revision(), "a%2Fb");
        for (id, revision) in [
            ("name", None),
            ("a/b/c", None),
            ("../x", None),
            ("org/name@v1", None),
            ("org/name", Some("../x")),
        ] {
            let error = target(id, revision).unwrap_err().to_string();
            assert!(error.contains("expected a repository org/name and a branch"), "{error}");
        }
    }

    #[test]
    fn files_are_listed_with_those_of_inner_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        for (name, text) in [("b", "12"), ("inner/c", ""), ("a", "1")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let files = upload_files(folder.path()).unwrap();
        let shown: Vec<(&str, u64)> = files.iter().map(|file| (file.name.as_str(), file.size)).collect();
        assert_eq!(shown, [("a", 1), ("b", 2), ("inner/c", 0)]);
    }
}
