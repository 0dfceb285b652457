//! The whole service on a data directory of its own: the real router, SQLite file, worker and embedding service.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use matryo::domain::DataDir;
use matryo::http::{AppState, HttpLimits, ModelPulls, TrainingDevice};
use matryo::hub::HubSettings;
use matryo::model::Hardware;
use matryo::serving::{EmbeddingService, ServingOptions};
use matryo::store::Store;
use matryo::telemetry::{Metrics, Telemetry};
use matryo::worker::{EngineTrainer, Trainer, Worker, WorkerContext};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// A running service; its files go with it.
pub(crate) struct TestApp {
    /// What the handlers share.
    pub(crate) state: AppState,
    /// The service, to be asked by [`TestApp::send`].
    pub(crate) router: Router,
    folder: TempDir,
}

impl TestApp {
    /// Starts a service with default limits, no API key, and no way to the Hub.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a service whose state `adjust` may change first.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut AppState)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder can be made"), adjust).await
    }

    /// Starts a service on a folder that an earlier one left.
    pub(crate) async fn start_in(folder: TempDir, adjust: impl FnOnce(&mut AppState)) -> Self {
        Self::start_on(folder, EngineTrainer::new(0, Hardware::cpu()).expect("there are threads"), adjust).await
    }

    /// Starts a service whose jobs `trainer` runs.
    pub(crate) async fn start_training_by(trainer: impl Trainer + 'static) -> Self {
        Self::start_on(tempfile::tempdir().expect("a folder can be made"), trainer, |_| {}).await
    }

    /// Starts a service on a folder, with a trainer, and with a state that `adjust` may change first.
    pub(crate) async fn start_on(
        folder: TempDir,
        trainer: impl Trainer + 'static,
        adjust: impl FnOnce(&mut AppState),
    ) -> Self {
        let root = folder.path().canonicalize().expect("the folder is there");
        let data_dir = DataDir::new(root.join("data"));
        std::fs::create_dir_all(data_dir.root()).expect("a folder can be made");
        let store = Store::open(&data_dir.database()).await.expect("the database opens");
        let context = WorkerContext::new(store.clone(), data_dir.clone(), trainer);
        let worker = Worker::start(context).await.expect("it starts");
        let options = ServingOptions { cache_bytes: 64 << 20, max_waiting_texts: 4096, ..ServingOptions::default() };
        let mut state = AppState {
            embedding: EmbeddingService::start(store.clone(), data_dir.clone(), options),
            store,
            data_dir,
            worker,
            pulls: ModelPulls::default(),
            hub: HubSettings { offline: true, ..HubSettings::default() },
            model_roots: [root.join("roots")].into(),
            api_key: None,
            device: "cpu".into(),
            training_device: TrainingDevice { hardware: Hardware::cpu(), reason: "this is a test".into() }.into(),
            limits: HttpLimits::default(),
            telemetry: Telemetry::new(Metrics::new(|_| {})),
        };
        std::fs::create_dir_all(root.join("roots")).expect("a folder can be made");
        adjust(&mut state);
        state.telemetry = Telemetry::new(Metrics::new(|registry| state.embedding.register_metrics(registry)));
        Self { router: matryo::http::router(state.clone()), state, folder }
    }

    /// The folder below which model folders may be registered.
    pub(crate) fn model_root(&self) -> PathBuf {
        self.state.model_roots[0].clone()
    }

    /// Stops everything and hands over the files, for a second start.
    pub(crate) async fn stop(self) -> TempDir {
        self.state.worker.shutdown().await.expect("the worker ends");
        self.state.embedding.shutdown().await;
        self.state.pulls.shutdown();
        self.state.store.close().await;
        self.folder
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends well").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).body(Body::empty()).expect("it is a request")).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path).body(Body::empty()).expect("it is a request")).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(request(Method::POST, path).body(Body::empty()).expect("it is a request")).await
    }

    pub(crate) async fn put_json(&self, path: &str, json: &Value) -> Answer {
        let request = request(Method::PUT, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(json.to_string().into()).expect("it is a request")).await
    }

    pub(crate) async fn post_json(&self, path: &str, json: &Value) -> Answer {
        let request = request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(json.to_string().into()).expect("it is a request")).await
    }

    /// Asks for a page as a browser does.
    pub(crate) async fn browse(&self, path: &str) -> Answer {
        let request = request(Method::GET, path).header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
        self.send(request.body(Body::empty()).expect("it is a request")).await
    }

    /// Sends a form as a browser does from one of our own pages.
    pub(crate) async fn submit_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = request(Method::POST, path).header("sec-fetch-site", "same-origin");
        self.send(urlencoded(request, fields)).await
    }

    /// Listens on a port of its own until the test ends, for what needs a connection; returns the address.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

/// A request that brings a form's fields.
pub(crate) fn urlencoded(request: axum::http::request::Builder, fields: &[(&str, &str)]) -> Request<Body> {
    let query = reqwest::Url::parse_with_params("http://localhost/", fields).expect("fields can be written");
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(query.query().unwrap_or_default().to_owned().into()).expect("it is a request")
}

/// Begins a request.
pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body's JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body's text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The HTML of a page that must have this status.
    #[track_caller]
    pub(crate) fn expect_page(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        self.text()
    }

    /// Where an answer that must be a redirect leads to.
    #[track_caller]
    pub(crate) fn expect_redirect(&self) -> &str {
        assert_eq!(self.status.as_u16(), 303, "{}", self.text());
        self.headers[header::LOCATION].to_str().expect("it is an address")
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The message of an error in TEI's shape that must have this status and type.
    #[track_caller]
    pub(crate) fn expect_tei_error(&self, status: u16, error_type: &str) -> String {
        let json = self.expect(status);
        assert_eq!(json["error_type"], error_type, "{json}");
        json["error"].as_str().expect("an error has a message").to_owned()
    }

    /// The message of an error that must have this status and code; in OpenAI's shape they stand at the same places.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, code: &str) -> String {
        let json = self.expect(status);
        assert_eq!(json["error"]["code"], code, "{json}");
        json["error"]["message"].as_str().expect("an error has a message").to_owned()
    }
}
