//! A hub on this machine that speaks the interface of uploads, and fails where it is told to.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// The token that may write.
pub const TOKEN: &str = "hf_sesame";

/// Files above this size are stored beside the commits, and those above the second in parts of it.
const LARGE: u64 = 2_000;
const PART: usize = 9_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// So many requests of storage are answered with status 503, from the third one on.
    Busy(usize),
    /// The third request of storage is never answered.
    Stalls,
}

/// What the hub holds, and what it was asked.
#[derive(Default)]
pub struct Held {
    pub fault: Fault,
    /// Whether each repository is private.
    pub repositories: BTreeMap<String, bool>,
    /// Of each branch its files.
    pub branches: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Contents by their SHA-256.
    pub objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    /// Of each commit its branch, its message, and the files that it adds or replaces.
    pub commits: Vec<(String, String, BTreeMap<String, Vec<u8>>)>,
    /// Requests of storage, answered or not.
    pub puts: usize,
    /// Whatever should not have been asked.
    pub offences: Vec<String>,
}

pub struct Hub {
    pub endpoint: String,
    held: Arc<Mutex<Held>>,
}

impl Hub {
    pub fn start() -> Hub {
        let held = Arc::new(Mutex::new(Held::default()));
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::clone(&held);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                sender.send(endpoint.clone()).unwrap();
                let answer = move |request: Request| answer(request, Arc::clone(&shared), endpoint.clone());
                axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
            });
        });
        Hub { endpoint: receiver.recv().unwrap(), held }
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }
}

type Reply = Response<Body>;

fn reply(status: u16, body: Value) -> Reply {
    Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
}

fn refusal(status: u16, error: &str) -> Reply {
    reply(status, json!({"error": error}))
}

async fn answer(request: Request, held: Arc<Mutex<Held>>, endpoint: String) -> Reply {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let authorization = header("authorization");
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
    let length: Option<usize> = header("content-length").and_then(|length| length.parse().ok());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    if let Some(object) = path.strip_prefix("/storage/") {
        let stalls = {
            let mut held = held.lock().unwrap();
            held.puts += 1;
            if authorization.is_some() || length != Some(body.len()) {
                held.offences.push(format!("{path}: {authorization:?}, length {length:?}"));
            }
            held.fault == Fault::Stalls && held.puts >= 3
        };
        if stalls {
            return pending().await;
        }
        return store(&mut held.lock().unwrap(), object, &query, &body);
    }
    if authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        return refusal(401, "Invalid credentials in Authorization header");
    }
    let body = if path.ends_with("/commit/main") || path.contains("/commit/") {
        let lines = String::from_utf8(body.to_vec()).unwrap();
        Value::Array(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    } else {
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    };
    interface(&mut held.lock().unwrap(), head.method.as_str(), &path, &body, &endpoint)
}

/// Stores an object, or a part of one, unless storage is busy; or joins the parts.
fn store(held: &mut Held, object: &str, query: &str, body: &[u8]) -> Reply {
    if held.puts >= 3
        && let Fault::Busy(times @ 1..) = held.fault
    {
        held.fault = Fault::Busy(times - 1);
        return refusal(503, "Slow down");
    }
    let part = query.split('&').find_map(|field| field.strip_prefix("part=")?.parse().ok());
    match part {
        Some(part) => {
            held.parts.entry(object.to_owned()).or_default().insert(part, body.to_vec());
            let stored = Response::builder().header("etag", format!("\"{part}\""));
            stored.body(Body::empty()).unwrap()
        }
        None if query.contains("complete") => join(held, object, &serde_json::from_slice(body).unwrap()),
        None => put(held, object, body.to_vec()),
    }
}

fn join(held: &mut Held, object: &str, said: &Value) -> Reply {
    let parts = held.parts.remove(object).unwrap_or_default();
    let tags = parts.keys().map(|part| json!({"partNumber": part, "etag": format!("\"{part}\"")}));
    if said["oid"] != *object || said["parts"] != Value::Array(tags.collect()) {
        held.offences.push(format!("the parts of {object}: {said}"));
    }
    put(held, object, parts.into_values().flatten().collect())
}

fn put(held: &mut Held, object: &str, bytes: Vec<u8>) -> Reply {
    held.objects.insert(object.to_owned(), bytes);
    reply(200, Value::Null)
}

fn interface(held: &mut Held, method: &str, path: &str, body: &Value, endpoint: &str) -> Reply {
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, &words[..]) {
        ("POST", ["api", "repos", "create"]) => {
            let text = |name: &str| body[name].as_str().unwrap();
            let id = format!("{}/{}", text("organization"), text("name"));
            assert_eq!(text("type"), "model");
            if held.repositories.contains_key(&id) {
                return refusal(409, "You already created this model repo");
            }
            held.repositories.insert(id, body["private"].as_bool().unwrap());
            reply(200, json!({"url": endpoint}))
        }
        ("GET", ["api", "models", org, name]) => match held.repositories.get(&format!("{org}/{name}")) {
            Some(private) => reply(200, json!({"private": private})),
            None => refusal(404, "Repository not found"),
        },
        ("POST", ["api", "models", _, _, "branch", branch]) => {
            if held.branches.contains_key(*branch) {
                return refusal(409, "Reference already exists");
            }
            let main = held.branches.get("main").cloned().unwrap_or_default();
            held.branches.insert((*branch).to_owned(), main);
            reply(200, Value::Null)
        }
        ("POST", ["api", "models", _, _, "preupload", branch]) => preupload(held, branch, body),
        ("POST", [_, _, "info", "lfs", "objects", "batch"]) => batch(held, body, endpoint),
        ("POST", ["verify", object]) if held.objects.contains_key(*object) => reply(200, Value::Null),
        ("POST", ["api", "models", _, _, "commit", branch]) => commit(held, branch, body, endpoint),
        _ => refusal(StatusCode::NOT_FOUND.as_u16(), "Sorry, there is no such page"),
    }
}

fn preupload(held: &Held, branch: &str, body: &Value) -> Reply {
    let there = held.branches.get(branch).cloned().unwrap_or_default();
    let way = |file: &Value| {
        let is_large = file["size"].as_u64().unwrap() > LARGE;
        let sample = STANDARD.decode(file["sample"].as_str().unwrap()).unwrap();
        assert_eq!(sample.len() as u64, file["size"].as_u64().unwrap().min(512));
        let oid = there.get(file["path"].as_str().unwrap()).map(|bytes| oid(held, bytes));
        let mode = if is_large { "lfs" } else { "regular" };
        json!({"path": file["path"], "uploadMode": mode, "shouldIgnore": false, "oid": oid})
    };
    let files: Vec<Value> = body["files"].as_array().unwrap().iter().map(way).collect();
    reply(200, json!({"files": files}))
}

/// What a file is called: an object by its SHA-256, another as Git does.
fn oid(held: &Held, bytes: &Vec<u8>) -> String {
    let object = held.objects.iter().find(|(_, object)| *object == bytes).map(|(oid, _)| oid.clone());
    object.unwrap_or_else(|| {
        let mut sum = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
        sum.update(bytes);
        sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

fn batch(held: &Held, body: &Value, endpoint: &str) -> Reply {
    assert_eq!((&body["operation"], &body["hash_algo"]), (&json!("upload"), &json!("sha256")));
    let object = |of: &Value| {
        let (oid, size) = (of["oid"].as_str().unwrap(), of["size"].as_u64().unwrap() as usize);
        if held.objects.contains_key(oid) {
            return json!({"oid": oid, "size": size});
        }
        let address = format!("{endpoint}/storage/{oid}?signature=secret");
        let mut upload = json!({"href": address, "header": {"x-stored": "yes"}});
        if size > PART {
            upload =
                json!({"href": format!("{address}&complete"), "header": {"chunk_size": PART.to_string()}});
            for part in 1..=size.div_ceil(PART) {
                upload["header"][format!("{part:05}")] = json!(format!("{address}&part={part}"));
            }
        }
        let verify = json!({"href": format!("{endpoint}/verify/{oid}")});
        json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    };
    let objects: Vec<Value> = body["objects"].as_array().unwrap().iter().map(object).collect();
    reply(200, json!({"transfer": "multipart", "objects": objects}))
}

fn commit(held: &mut Held, branch: &str, lines: &Value, endpoint: &str) -> Reply {
    let lines = lines.as_array().unwrap();
    let file = |line: &Value| {
        let (value, text) = (&line["value"], |name: &str| line["value"][name].as_str().unwrap().to_owned());
        let contents = match line["key"].as_str().unwrap() {
            "file" => STANDARD.decode(text("content")).unwrap(),
            "lfsFile" => held.objects[&text("oid")].clone(),
            other => panic!("{other}: {value}"),
        };
        (text("path"), contents)
    };
    let files: BTreeMap<String, Vec<u8>> = lines[1..].iter().map(file).collect();
    held.branches.entry(branch.to_owned()).or_default().extend(files.clone());
    let summary = lines[0]["value"]["summary"].as_str().unwrap().to_owned();
    held.commits.push((branch.to_owned(), summary, files));
    reply(200, json!({"success": true, "commitOid": "c0", "commitUrl": format!("{endpoint}/commit/c0")}))
}
