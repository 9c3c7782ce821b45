use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub on this machine that answers for one repository.
struct FakeHub {
    endpoint: String,
    /// Each request: its path, its range if it has one, and whether it came with the token.
    requests: Arc<Mutex<Vec<String>>>,
}

/// What the hub does.
#[derive(Clone, PartialEq)]
enum Manner {
    RepositoryKind,
    /// The first answer with a file ends in its middle.
    Interrupts,
    /// Every answer is this status.
    Refuses(u16),
    /// Files are on another host.
    Redirects(String),
}

impl FakeHub {
    fn with(files: &[(&str, &str)], manner: Manner) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files: BTreeMap<String, String> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut interrupts = manner == Manner::Interrupts;
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &manner, &mut interrupts, &log);
            }
        });
        FakeHub { endpoint, requests }
    }

    fn hub(&self, cache: &Path, token: Option<&str>) -> Hub {
        Hub {
            cache: Cache::new(cache.to_owned()),
            client: Some(Client::new(self.endpoint.clone(), token.map(str::to_owned))),
        }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, String>,
    manner: &Manner,
    interrupts: &mut bool,
    log: &Mutex<Vec<String>>,
) {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let header = |name: &str| {
        lines.iter().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix(name).map(|value| value.trim().to_owned())
        })
    };
    let range = header("range:");
    let token = header("authorization:").map_or(String::new(), |token| format!(" {token}"));
    log.lock()
        .unwrap()
        .push(format!("{path}{}{token}", range.as_ref().map_or(String::new(), |range| format!(" {range}"))));
    let start: usize =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    let mut respond = |status: &str, body: &str, length: usize| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    };
    if let Manner::Refuses(status) = *manner {
        return respond(&format!("{status} no"), "", 0);
    }
    if path.starts_with("/api/") {
        let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": siblings, "id": "org/name"}).to_string();
        return respond("200 OK", &body, body.len());
    }
    if let Manner::Redirects(elsewhere) = manner {
        return respond(&format!("302 Found\r\nlocation: {elsewhere}{path}"), "", 0);
    }
    let text = path.split_once(&format!("/resolve/{COMMIT}/")).and_then(|(_, name)| files.get(name));
    match text {
        None => respond("404 no", "", 0),
        Some(text) if start >= text.len() && start > 0 => respond("416 no", "", 0),
        Some(text) => {
            let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
            let rest = &text[start..];
            let sent = if std::mem::take(interrupts) { &rest[..rest.len() / 2] } else { rest };
            respond(status, sent, rest.len());
        }
    }
}

fn model(text: &str) -> Repository {
    Repository::parse(RepositoryKind::Model, text).unwrap()
}

fn dataset(text: &str) -> Repository {
    Repository::parse(RepositoryKind::Dataset, text).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = cache::files_under(folder);
    names.sort();
    names
}

const SHARDED: [(&str, &str); 7] = [
    ("config.json", "{}"),
    ("tokenizer.json", "[]"),
    (
        cache::INDEX,
        r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#,
    ),
    ("model-1.safetensors", "first"),
    ("model-2.safetensors", "second"),
    ("consolidated.safetensors", "the same again"),
    ("README.md", "words"),
];

/// Nobody listens there.
fn nowhere(cache: &Path) -> Hub {
    Hub {
        cache: Cache::new(cache.to_owned()),
        client: Some(Client::new("http://127.0.0.1:9".to_owned(), None)),
    }
}

#[test]
fn a_model_is_loaded_once_and_only_what_belongs_to_it() {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeHub::with(&SHARDED, Manner::RepositoryKind));
    let hub = fake.hub(folder.path(), Some("secret"));
    let snapshot = hub.model(&model("org/name")).unwrap();
    assert_eq!(snapshot, folder.path().join("models--org--name/snapshots").join(COMMIT));
    assert_eq!(
        names(&snapshot),
        ["config.json", "model-1.safetensors", "model-2.safetensors", cache::INDEX, "tokenizer.json"]
    );
    assert_eq!(std::fs::read_to_string(snapshot.join("model-2.safetensors")).unwrap(), "second");
    assert_eq!(std::fs::read_to_string(folder.path().join("models--org--name/refs/main")).unwrap(), COMMIT);
    let requests = fake.requests();
    assert_eq!(requests[0], "/api/models/org/name/revision/main bearer secret");
    assert_eq!(requests[1], format!("/org/name/resolve/{COMMIT}/config.json bearer secret"));
    assert_eq!(requests.len(), 6);
    // Again: within one command nothing is asked twice, and nothing is loaded.
    assert_eq!(hub.model(&model("org/name")).unwrap(), snapshot);
    assert!(fake.requests().is_empty());
    // A commit never changes, so it is not even asked for.
    assert_eq!(hub.model(&model(&format!("org/name@{COMMIT}"))).unwrap(), snapshot);
    assert!(fake.requests().is_empty());
}

#[test]
fn the_token_stays_with_the_hub_where_a_file_is_elsewhere() {
    let files = [("config.json", "{}"), ("model.safetensors", "w")];
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), FakeHub::with(&files, Manner::RepositoryKind));
    let fake = FakeHub::with(&files, Manner::Redirects(elsewhere.endpoint.clone()));
    let snapshot = fake.hub(folder.path(), Some("secret")).model(&model("org/name")).unwrap();
    assert_eq!(std::fs::read_to_string(snapshot.join("model.safetensors")).unwrap(), "w");
    assert!(fake.requests().iter().all(|request| request.ends_with("bearer secret")));
    let requests = elsewhere.requests();
    assert!(
        requests.len() == 2 && requests.iter().all(|request| !request.contains("secret")),
        "{requests:?}"
    );
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let files = [("config.json", "{\"a\": 12345678}"), ("model.safetensors", "0123456789")];
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeHub::with(&files, Manner::Interrupts));
    let snapshot = fake.hub(folder.path(), None).model(&model("org/name")).unwrap();
    assert_eq!(std::fs::read_to_string(snapshot.join("config.json")).unwrap(), files[0].1);
    assert!(fake.requests().contains(&format!("/org/name/resolve/{COMMIT}/config.json bytes=7-")));
    // As a killed process leaves it: all there but for the name, or more than there is.
    for left in ["01234", "0123456789", "0123456789abc"] {
        std::fs::remove_file(snapshot.join("model.safetensors")).unwrap();
        std::fs::write(snapshot.join("model.safetensors.incomplete"), left).unwrap();
        fake.hub(folder.path(), None).model(&model("org/name")).unwrap();
        assert_eq!(names(&snapshot), ["config.json", "model.safetensors"]);
        assert_eq!(
            std::fs::read_to_string(snapshot.join("model.safetensors")).unwrap(),
            "0123456789",
            "{left}"
        );
    }
}

#[test]
fn files_of_a_data_set_by_pattern() {
    let files = [("data/test-1.parquet", "b"), ("data/test-0.parquet", "a"), ("data/train-0.parquet", "c")];
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeHub::with(&files, Manner::RepositoryKind));
    let hub = fake.hub(folder.path(), None);
    let found = hub.files(&dataset("org/name@refs/convert/parquet"), &["data/test-*.parquet"]).unwrap();
    assert_eq!(
        found.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(fake.requests()[1], format!("/datasets/org/name/resolve/{COMMIT}/data/test-0.parquet"));
    let error = format!("{:#}", hub.files(&dataset("org/name"), &["test.jsonl"]).unwrap_err());
    assert!(error.contains("org/name on the hub has no file like test.jsonl"), "{error}");
}

#[test]
fn without_a_network_the_cache_serves() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("models--org--name/snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.path().join("models--org--name/refs")).unwrap();
    std::fs::write(folder.path().join("models--org--name/refs/main"), "abc\n").unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    let offline = Hub { cache: Cache::new(folder.path().to_owned()), client: None };
    let error = offline.model(&model("org/name")).unwrap_err().to_string();
    assert!(
        error.contains("org/name is no model on this machine") && error.contains("HF_HUB_OFFLINE is set"),
        "{error}"
    );
    std::fs::write(snapshot.join("model.safetensors"), "w").unwrap();
    assert_eq!(offline.model(&model("org/name")).unwrap(), snapshot);
    assert_eq!(nowhere(folder.path()).model(&model("org/name")).unwrap(), snapshot);
    let error = nowhere(folder.path()).model(&model("org/name@v2")).unwrap_err().to_string();
    assert!(error.contains("cannot reach http://127.0.0.1:9/api/models/org/name/revision/v2"), "{error}");
}

#[track_caller]
fn check_refused(manner: Manner, files: &[(&str, &str)], expected: &str) {
    let (folder, fake) = (tempfile::tempdir().unwrap(), FakeHub::with(files, manner));
    let error = format!("{:#}", fake.hub(folder.path(), None).model(&model("org/name")).unwrap_err());
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_the_hub_refuses_is_named() {
    check_refused(Manner::Refuses(401), &[], "answers with status 401");
    check_refused(Manner::Refuses(404), &[], "answers with status 404");
    check_refused(
        Manner::RepositoryKind,
        &[("config.json", "{}"), ("pytorch_model.bin", "w")],
        "org/name on the hub has no model.safetensors",
    );
    check_refused(
        Manner::RepositoryKind,
        &[("model.safetensors", "w")],
        "org/name on the hub has no config.json",
    );
    check_refused(
        Manner::RepositoryKind,
        &[("../config.json", "{}")],
        "expected names of files, got \"../config.json\"",
    );
    check_refused(
        Manner::RepositoryKind,
        &[("config.json", "{}"), (cache::INDEX, r#"{"weight_map": {"a": "../x"}}"#)],
        "expected names of files, got \"../x\"",
    );
}

#[test]
fn a_path_that_exists_wins_and_what_is_no_id_stays() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(model_folder(folder.path()).unwrap(), folder.path());
    assert_eq!(model_folder("nowhere").unwrap(), Path::new("nowhere"));
    assert_eq!(model_folder("./models/small").unwrap(), Path::new("./models/small"));
    assert!(
        dataset_files("nowhere", &["*"]).unwrap_err().to_string().contains("expected org/name[@revision]")
    );
}
