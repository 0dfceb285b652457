//! A server on this machine that speaks the Hub's protocol, and can misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use matryo::domain::Secret;
use matryo::hub::HubSettings;
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) const REPO: &str = "org/tiny";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and how it behaves.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// The one repository's name.
    pub(crate) repo: &'static str,
    /// Content by path.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// Names that its list also has, without any content.
    pub(crate) listed: Vec<String>,
    /// The token that it wants.
    pub(crate) token: Option<&'static str>,
    /// Answers with weights break off after so many bytes, as often as the second number says.
    pub(crate) cut: (usize, usize),
    /// False for a server that answers a range with the whole file.
    pub(crate) ranges: bool,
    /// False for a mirror without the list of sizes and hashes.
    pub(crate) tree: bool,
    /// True to tell wrong hashes.
    pub(crate) wrong_hashes: bool,
    /// Answers everything with this.
    pub(crate) status: Option<StatusCode>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let weights: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).take(3_000_000).collect();
        let files = [
            ("config.json", Bytes::from_static(b"{}")),
            ("model.safetensors", weights.into()),
            ("pytorch_model.bin", Bytes::from_static(b"not wanted")),
            ("tokenizer.json", Bytes::from_static(b"{\"version\": \"1.0\"}")),
            ("modules.json", Bytes::from_static(b"[]")),
            ("1_Pooling/config.json", Bytes::from_static(b"{\"pooling_mode_mean_tokens\": true}")),
            ("onnx/model.onnx", Bytes::from_static(b"not wanted")),
        ];
        Self {
            repo: REPO,
            files: files.map(|(path, content)| (path.to_owned(), content)).into(),
            listed: Vec::new(),
            token: None,
            cut: (0, 0),
            ranges: true,
            tree: true,
            wrong_hashes: false,
            status: None,
        }
    }
}

/// One request that came: method and path, and the range it asked for.
pub(crate) type Seen = (Method, String, Option<String>);

#[derive(Clone)]
struct Shared {
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The server, which ends with the test's runtime.
pub(crate) struct FakeHub {
    endpoint: String,
    shared: Shared,
}

impl FakeHub {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let shared = Shared { behaviour: Arc::new(Mutex::new(behaviour)), seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it listens"));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, shared }
    }

    pub(crate) fn settings(&self) -> HubSettings {
        // The library looks for a token of its own where none is given, and the developer's is nobody's business.
        HubSettings { endpoint: self.endpoint.clone(), token: Some(Secret::new("hf_test")), ..HubSettings::default() }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().expect("no test panics with it"));
    }

    /// The requests for content of a file whose path ends so.
    pub(crate) fn gets(&self, end: &str) -> Vec<Option<String>> {
        let seen = self.shared.seen.lock().expect("no test panics with it");
        let gets = seen.iter().filter(|(method, path, _)| method == Method::GET && path.ends_with(end));
        gets.filter(|(_, path, _)| path.starts_with("/cdn/")).map(|(_, _, range)| range.clone()).collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.seen.lock().expect("no test panics with it").len()
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers();
    let range = headers.get(header::RANGE).map(|range| range.to_str().expect("ASCII").to_owned());
    shared.seen.lock().expect("no test panics with it").push((request.method().clone(), path.clone(), range.clone()));
    let mut behaviour = shared.behaviour.lock().expect("no test panics with it");
    if let Some(status) = behaviour.status {
        return refusal(status, "", "it is as it is");
    }
    if let Some(path) = path.strip_prefix("/cdn/") {
        let head = request.method() == Method::HEAD;
        return content(&mut behaviour, path, range.as_deref(), head);
    }
    if let Some(token) = behaviour.token
        && headers.get(header::AUTHORIZATION).is_none_or(|given| given != format!("Bearer {token}").as_str())
    {
        return refusal(StatusCode::UNAUTHORIZED, "GatedRepo", "Access to this model is restricted");
    }
    let repo = behaviour.repo;
    let api = format!("/api/models/{repo}");
    let resolve = format!("/{repo}/resolve/{COMMIT}/");
    if path == format!("{api}/revision/main") || path == format!("{api}/revision/{COMMIT}") {
        let names = behaviour.files.keys().chain(&behaviour.listed);
        let siblings: Vec<_> = names.map(|name| json!({"rfilename": name})).collect();
        Json(json!({"id": repo, "sha": COMMIT, "siblings": siblings})).into_response()
    } else if path == format!("{api}/tree/{COMMIT}") && behaviour.tree {
        Json(tree(&behaviour)).into_response()
    } else if let Some(file) = path.strip_prefix(&resolve).filter(|file| behaviour.files.contains_key(*file)) {
        let size = behaviour.files[file].len();
        // As the Hub does it for large files; small ones it sends itself, which is the redirect's target alone.
        let headers = [
            (header::LOCATION, format!("/cdn/{file}")),
            (header::HeaderName::from_static("x-repo-commit"), COMMIT.into()),
            (header::HeaderName::from_static("x-linked-size"), size.to_string()),
            (header::HeaderName::from_static("x-linked-etag"), format!("\"{file}\"")),
        ];
        (StatusCode::FOUND, headers).into_response()
    } else if path.starts_with(&api) {
        refusal(StatusCode::NOT_FOUND, "RevisionNotFound", "Invalid rev id")
    } else {
        refusal(StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found")
    }
}

fn tree(behaviour: &Behaviour) -> serde_json::Value {
    let entries = behaviour.files.iter().map(|(path, content)| {
        let sha256 = if behaviour.wrong_hashes { "0".repeat(64) } else { hex::encode(Sha256::digest(content)) };
        let lfs = json!({"oid": sha256, "sha256": sha256, "size": content.len(), "pointerSize": 134});
        let lfs = if content.len() > 1000 { lfs } else { json!(null) };
        json!({"type": "file", "oid": "0".repeat(40), "size": content.len(), "path": path, "lfs": lfs})
    });
    entries.collect()
}

fn content(behaviour: &mut Behaviour, path: &str, range: Option<&str>, head: bool) -> Response {
    let whole = behaviour.files[path].clone();
    let size = whole.len();
    let start = range.filter(|_| behaviour.ranges).map_or(0, |range| {
        let (start, _) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("a range");
        start.parse::<usize>().expect("a number")
    });
    let rest = whole.slice(start..);
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, "\"etag\"".parse().expect("ASCII"));
    headers.insert(header::CONTENT_LENGTH, rest.len().into());
    let mut status = StatusCode::OK;
    if start > 0 {
        status = StatusCode::PARTIAL_CONTENT;
        headers.insert(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", size - 1).parse().expect("ASCII"));
    }
    let (cut_after, cuts_left) = behaviour.cut;
    let body = if path == "model.safetensors" && cuts_left > 0 && !head {
        behaviour.cut.1 -= 1;
        let beginning = rest.slice(..cut_after.min(rest.len()));
        Body::from_stream(futures::stream::iter([Ok(beginning), Err(std::io::Error::other("cut"))]))
    } else {
        Body::from(rest)
    };
    (status, headers, body).into_response()
}

fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    if !code.is_empty() {
        headers.insert("x-error-code", code.parse().expect("ASCII"));
    }
    (status, headers, Json(json!({"error": message}))).into_response()
}
