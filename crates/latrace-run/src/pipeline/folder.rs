//! The run folder: one folder for each stage, with a record of what it was made from, and a lock.
//!
//! A stage is known by its key: its settings and the digests of what it reads. A stage that is done under the
//! same key is kept, any other is made anew; so a changed recipe costs the stages that depend on the change
//! and no more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use latrace_io::failure::Failure;
use latrace_io::files::{checksum, write_atomically};

/// Version of the stages' meaning: raised when the same settings come to mean other results.
const STAGE_VERSION: u32 = 1;
const RECORD: &str = "stage.json";

/// A finished stage: where its files are, and what tells them from others.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its folder.
    pub folder: PathBuf,
    /// Checksums of its files, as one text; none while a plan is made and the stage is yet to be done.
    digest: Option<String>,
}

impl Done {
    /// The stage, its files being elsewhere.
    pub fn at(self, folder: PathBuf) -> Done {
        Done { folder, ..self }
    }
}

/// What is kept of a stage in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The stage's name.
    pub stage: String,
    /// All that its result depends on.
    pub key: Value,
    /// Whether all of its files are written.
    pub done: bool,
    /// Working time (s) of the sessions that ended.
    pub seconds: f64,
    /// Most memory (bytes) that the process had held when the stage ended; 0 where the system does not say.
    pub peak_memory_bytes: u64,
    /// Checksums of its files.
    pub files: BTreeMap<String, String>,
    /// What it counted, such as rows left out.
    pub counts: Value,
}

/// What a stage is about to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Done under the same key.
    Keep,
    /// Done by the run that this one is compared with.
    Share,
    /// Begun under the same key.
    Continue,
    /// Not there.
    Make,
    /// There, made from something else: what differs.
    Remake(String),
    /// There, but an earlier stage is made anew.
    Depends,
}

/// A stage as a plan shows it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The stage's folder within the run.
    pub stage: String,
    /// What is to be done.
    pub plan: Plan,
}

/// The folder of a run, held by one process at a time.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Option<File>,
}

impl RunFolder {
    /// Opens or makes the folder for work. Another process in it is an error.
    pub fn lock(path: &Path) -> Result<RunFolder> {
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let file = path.join("lock");
        let cannot = || format!("cannot lock {}", file.display());
        let lock =
            File::options().create(true).truncate(false).write(true).open(&file).with_context(cannot)?;
        match try_for_a_moment(&lock) {
            Ok(()) => {
                remove_temporary(path)?;
                Ok(RunFolder { path: path.to_owned(), _lock: Some(lock) })
            }
            Err(TryLockError::WouldBlock) => {
                let hint = "wait for it, or name another folder with --run-dir";
                Err(Failure::work(format!("another process is working in {}", path.display()))
                    .hint(hint)
                    .into())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    /// Whether a process is working in the folder.
    ///
    /// # Errors
    /// A lock that cannot be opened.
    pub fn is_at_work(path: &Path) -> Result<bool> {
        let file = path.join("lock");
        match File::open(&file) {
            Ok(lock) => Ok(matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// The folder as it is, to look at.
    pub fn look(path: &Path) -> RunFolder {
        RunFolder { path: path.to_owned(), _lock: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// [`RunFolder::is_at_work`] holds the lock for an instant: that is nobody's work.
fn try_for_a_moment(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..4 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            outcome => return outcome,
        }
    }
    lock.try_lock()
}

/// Where stages are done: a folder, the stages of which may be shared with those of another.
#[derive(Debug)]
pub struct Stages<'a> {
    folder: PathBuf,
    shown_as: String,
    base: Option<&'a Stages<'a>>,
    only_plan: bool,
    /// Shared by a run and its variants and rounds, in the order in which they come.
    planned: Rc<RefCell<Vec<Planned>>>,
}

impl<'a> Stages<'a> {
    /// Stages in a run's folder; with `only_plan`, nothing is done.
    pub fn new(run: &RunFolder, only_plan: bool) -> Stages<'static> {
        Stages {
            folder: run.path().to_owned(),
            shown_as: String::new(),
            base: None,
            only_plan,
            planned: Rc::default(),
        }
    }

    /// Stages of another method: what equals a stage of `self` is shared.
    pub fn variant(&'a self, name: &str) -> Stages<'a> {
        let folder = self.folder.join("baselines").join(name);
        Stages {
            folder,
            shown_as: format!("{name}: "),
            base: Some(self),
            only_plan: self.only_plan,
            planned: self.planned.clone(),
        }
    }

    /// Stages of a later round: what equals a stage of an earlier one, such as a posterior that learns from
    /// the same traces, is shared.
    pub fn round(&'a self, round: u64) -> Stages<'a> {
        let (folder, shown_as) = match round {
            1 => (self.folder.clone(), self.shown_as.clone()),
            _ => (self.folder.join(format!("round-{round}")), format!("{}round {round}: ", self.shown_as)),
        };
        Stages {
            folder,
            shown_as,
            base: Some(self),
            only_plan: self.only_plan,
            planned: self.planned.clone(),
        }
    }

    /// Whether nothing is done.
    pub fn only_plan(&self) -> bool {
        self.only_plan
    }

    /// What was planned or done so far.
    pub fn planned(&self) -> Vec<Planned> {
        self.planned.borrow().clone()
    }

    /// Does a stage, unless it is done: `work` fills the folder it is given, going on from what is there, and
    /// says what it counted.
    pub fn stage(
        &self,
        name: &str,
        settings: &Value,
        inputs: &[(&str, &Done)],
        work: impl FnOnce(&StageFolder) -> Result<Value>,
    ) -> Result<Done> {
        let folder = self.folder.join(name);
        let Some(key) = key_of(name, settings, inputs) else {
            let plan = if folder.is_dir() { Plan::Depends } else { Plan::Make };
            self.plan(name, plan);
            return Ok(Done { folder, digest: None });
        };
        if let Some(shared) =
            self.base.and_then(|base| base.find(name, &key)).filter(|shared| shared.folder != folder)
        {
            self.plan(name, Plan::Share);
            return Ok(shared);
        }
        let record = read_record(&folder)?;
        let plan = plan_for(record.as_ref(), &key);
        self.plan(name, plan.clone());
        if let (Plan::Keep, Some(record)) = (&plan, &record) {
            check_files(&folder, record)?;
            return Ok(Done { digest: Some(digest(record)), folder });
        }
        if self.only_plan {
            return Ok(Done { folder, digest: None });
        }
        if let Plan::Remake(_) = plan {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let before = record.filter(|_| plan == Plan::Continue).map_or(0.0, |record| record.seconds);
        let stage = StageFolder::begin(&folder, name, key, before)?;
        tracing::info!("{}{name}", self.shown_as);
        let outcome = work(&stage);
        stage.end(outcome)
    }

    fn plan(&self, name: &str, plan: Plan) {
        self.planned.borrow_mut().push(Planned { stage: format!("{}{name}", self.shown_as), plan });
    }

    /// The stage of the same key, here or where these stages may take from.
    fn find(&self, name: &str, key: &Value) -> Option<Done> {
        let folder = self.folder.join(name);
        let record = read_record(&folder).ok().flatten().filter(|record| record.done && record.key == *key);
        let here = record.map(|record| Done { digest: Some(digest(&record)), folder });
        here.or_else(|| self.base?.find(name, key))
    }
}

/// A stage's folder while it is being filled.
#[derive(Debug)]
pub struct StageFolder {
    /// Where its files go.
    pub path: PathBuf,
    name: String,
    key: Value,
    before: f64,
    started: Instant,
}

impl StageFolder {
    fn begin(folder: &Path, name: &str, key: Value, before: f64) -> Result<StageFolder> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        remove_temporary(folder)?;
        let stage = StageFolder {
            path: folder.to_owned(),
            name: name.to_owned(),
            key,
            before,
            started: Instant::now(),
        };
        stage.write_record(false, BTreeMap::new(), Value::Null)?;
        Ok(stage)
    }

    /// The key as one short text, for the metadata of parts.
    pub fn key(&self) -> String {
        format!("{:08x}", crc32c::crc32c(self.key.to_string().as_bytes()))
    }

    fn end(self, outcome: Result<Value>) -> Result<Done> {
        let (files, counts) = match outcome {
            Ok(counts) => (checksums(&self.path)?, counts),
            Err(error) => {
                // The error is what matters; time that cannot be noted is lost.
                let _ = self.write_record(false, BTreeMap::new(), Value::Null);
                return Err(error.context(format!("stage {}", self.name)));
            }
        };
        let record = self.write_record(true, files, counts)?;
        Ok(Done { digest: Some(digest(&record)), folder: self.path })
    }

    fn write_record(
        &self,
        done: bool,
        files: BTreeMap<String, String>,
        counts: Value,
    ) -> Result<StageRecord> {
        let seconds = self.before + self.started.elapsed().as_secs_f64();
        let record = StageRecord {
            stage: self.name.clone(),
            key: self.key.clone(),
            done,
            seconds,
            peak_memory_bytes: latrace_engine::cpu::peak_memory_bytes(),
            files,
            counts,
        };
        let text = serde_json::to_string_pretty(&record)?;
        write_atomically(&self.path.join(RECORD), |writer| {
            writeln!(writer, "{text}").context("cannot write the stage's record")
        })?;
        Ok(record)
    }
}

/// Removes what a killed process had not finished writing; the lock says that no other writes here.
fn remove_temporary(folder: &Path) -> Result<()> {
    let cannot = || format!("cannot clear the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(&path).with_context(cannot)?;
        }
    }
    Ok(())
}

/// The record in a stage's folder, if there is one.
pub fn read_record(folder: &Path) -> Result<Option<StageRecord>> {
    let path = folder.join(RECORD);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a stage's record", path.display()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// All that a stage's result depends on; none while an input is yet to be made.
fn key_of(name: &str, settings: &Value, inputs: &[(&str, &Done)]) -> Option<Value> {
    let inputs = inputs
        .iter()
        .map(|(name, done)| Some(((*name).to_owned(), json!(done.digest.as_ref()?))))
        .collect::<Option<serde_json::Map<_, _>>>()?;
    Some(json!({"stage": name, "version": STAGE_VERSION, "settings": settings, "inputs": inputs}))
}

fn plan_for(record: Option<&StageRecord>, key: &Value) -> Plan {
    match record {
        None => Plan::Make,
        Some(record) if record.key != *key => Plan::Remake(difference(&record.key, key)),
        Some(record) if record.done => Plan::Keep,
        Some(_) => Plan::Continue,
    }
}

fn digest(record: &StageRecord) -> String {
    let text = serde_json::to_string(&record.files).unwrap_or_default();
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), record.files.len())
}

/// Files whose contents do not tell one result from another: times, rates, and what is being written.
fn is_incidental(name: &str) -> bool {
    name == RECORD
        || name == "metrics.jsonl"
        || name.starts_with("events.out.")
        || name.starts_with('.')
        || name == "recipe.toml"
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sums.extend(checksums(&path)?.into_iter().map(|(inner, sum)| (format!("{name}/{inner}"), sum)));
        } else if !is_incidental(&name) {
            sums.insert(name, checksum(&path)?);
        }
    }
    Ok(sums)
}

/// A finished stage whose files have changed since is an error: what was made from them no longer matches.
fn check_files(folder: &Path, record: &StageRecord) -> Result<()> {
    let now = checksums(folder)?;
    let names = record.files.keys().chain(now.keys());
    let Some(name) = names.into_iter().find(|&name| record.files.get(name) != now.get(name)) else {
        return Ok(());
    };
    let state = match (record.files.contains_key(name), now.contains_key(name)) {
        (true, false) => "is missing",
        (false, true) => "was added",
        _ => "has changed",
    };
    let hint = format!("put it back, or remove {} to make the stage anew", folder.display());
    Err(Failure::work(format!("{} {state} since the stage was done", folder.join(name).display()))
        .hint(hint)
        .into())
}

/// Where two keys differ, as dotted names with both values.
fn difference(earlier: &Value, now: &Value) -> String {
    let mut found = Vec::new();
    collect_differences("", earlier, now, &mut found);
    match found.len() {
        0..=3 => found.join(", "),
        more => format!("{}, and {} more", found[..3].join(", "), more - 3),
    }
}

fn collect_differences(name: &str, earlier: &Value, now: &Value, found: &mut Vec<String>) {
    if let (Value::Object(left), Value::Object(right)) = (earlier, now) {
        let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for inner in names {
            let dotted = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
            collect_differences(
                &dotted,
                left.get(inner).unwrap_or(&Value::Null),
                right.get(inner).unwrap_or(&Value::Null),
                found,
            );
        }
    } else if earlier != now {
        let shown = name.trim_start_matches("settings.");
        match shown.strip_prefix("inputs.") {
            Some(input) => found.push(format!("{input} changed")),
            None => found.push(format!("{shown} was {}, is {}", shorten(earlier), shorten(now))),
        }
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_file(name: &'static str, text: &'static str) -> impl FnOnce(&StageFolder) -> Result<Value> {
        move |stage| {
            fs::write(stage.path.join(name), text)?;
            Ok(json!({"rows": 1}))
        }
    }

    fn never(_: &StageFolder) -> Result<Value> {
        anyhow::bail!("this stage is done")
    }

    fn plans(stages: &Stages<'_>) -> Vec<Plan> {
        stages.planned().into_iter().map(|planned| planned.plan).collect()
    }

    #[test]
    fn a_stage_is_made_once_and_again_when_its_settings_or_inputs_change() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        let stages = Stages::new(&run, false);
        let first = stages.stage("a", &json!({"n": 1}), &[], write_file("x", "1")).unwrap();
        stages.stage("b", &json!({}), &[("a", &first)], write_file("y", "1")).unwrap();
        let again = Stages::new(&run, false);
        let first = again.stage("a", &json!({"n": 1}), &[], never).unwrap();
        again.stage("b", &json!({}), &[("a", &first)], never).unwrap();
        assert_eq!(plans(&again), [Plan::Keep, Plan::Keep]);
        // A plan says what a change costs, and changes nothing.
        let plan = Stages::new(&run, true);
        let first = plan.stage("a", &json!({"n": 2}), &[], never).unwrap();
        plan.stage("b", &json!({}), &[("a", &first)], never).unwrap();
        assert_eq!(plans(&plan), [Plan::Remake("n was 1, is 2".to_owned()), Plan::Depends]);
        // What comes out the same leaves later stages as they are.
        let changed = Stages::new(&run, false);
        let first = changed.stage("a", &json!({"n": 2}), &[], write_file("x", "1")).unwrap();
        changed.stage("b", &json!({}), &[("a", &first)], never).unwrap();
        let other = changed.stage("a", &json!({"n": 3}), &[], write_file("x", "2")).unwrap();
        assert!(changed.stage("b", &json!({}), &[("a", &other)], never).is_err());
        assert_eq!(plans(&changed)[3], Plan::Remake("a changed".to_owned()));
    }

    #[test]
    fn a_stage_that_failed_goes_on_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        let stages = Stages::new(&run, false);
        let failed = stages.stage("a", &json!({}), &[], |stage| {
            fs::write(stage.path.join("x"), "1")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        let done = stages
            .stage("a", &json!({}), &[], |stage| Ok(json!(fs::read_to_string(stage.path.join("x"))?)))
            .unwrap();
        assert_eq!(read_record(&done.folder).unwrap().unwrap().counts, json!("1"));
        assert_eq!(plans(&stages), [Plan::Make, Plan::Continue]);
    }

    #[test]
    fn files_that_change_under_a_run_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        let stages = Stages::new(&run, false);
        let done = stages.stage("a", &json!({}), &[], write_file("x", "1")).unwrap();
        fs::write(done.folder.join("x"), "2").unwrap();
        let error = stages.stage("a", &json!({}), &[], never).unwrap_err().to_string();
        assert!(error.contains("has changed since the stage was done"), "{error}");
    }

    #[test]
    fn a_variant_shares_equal_stages() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        let stages = Stages::new(&run, false);
        stages.stage("a", &json!({"n": 1}), &[], write_file("x", "1")).unwrap();
        let variant = stages.variant("other");
        let shared = variant.stage("a", &json!({"n": 1}), &[], never).unwrap();
        assert_eq!(shared.folder, folder.path().join("a"));
        let own = variant.stage("a", &json!({"n": 2}), &[], write_file("x", "2")).unwrap();
        assert_eq!(own.folder, folder.path().join("baselines/other/a"));
        assert_eq!(plans(&variant), [Plan::Make, Plan::Share, Plan::Make]);
        let later = variant.round(2);
        assert_eq!(later.stage("a", &json!({"n": 1}), &[], never).unwrap().folder, shared.folder);
        assert_eq!(
            later.stage("a", &json!({"n": 3}), &[], write_file("x", "3")).unwrap().folder,
            folder.path().join("baselines/other/round-2/a")
        );
    }

    #[test]
    fn two_processes_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!RunFolder::is_at_work(folder.path()).unwrap());
        let held = RunFolder::lock(folder.path()).unwrap();
        assert!(RunFolder::is_at_work(folder.path()).unwrap());
        let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another process is working in"), "{error}");
        drop(held);
        assert!(!RunFolder::is_at_work(folder.path()).unwrap());
    }
}
