//! A receiver of webhooks: a server that answers as it is told and keeps what it got.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

/// Something hangs where a test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One POST.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("it is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

#[derive(Clone)]
struct Behaviour {
    /// What to answer next; 204 once there is nothing left.
    answers: Arc<Mutex<VecDeque<u16>>>,
    received: mpsc::UnboundedSender<Received>,
}

/// A receiver that lives as long as the test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    /// Starts one that gives these answers, and 204 after them.
    pub(crate) async fn start(answers: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (sender, received) = mpsc::unbounded_channel();
        let behaviour =
            Behaviour { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), received: sender };
        let router = Router::new().fallback(take).with_state(behaviour);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=hidden", self.address)
    }

    /// Waits for the next POST.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.expect("it comes in time").expect("the receiver lives")
    }

    /// What came and was not asked for.
    pub(crate) fn left(&mut self) -> usize {
        std::iter::from_fn(|| self.received.try_recv().ok()).count()
    }
}

async fn take(State(behaviour): State<Behaviour>, headers: HeaderMap, body: Bytes) -> Response {
    let status = behaviour.answers.lock().expect("nobody panicked").pop_front().unwrap_or(204);
    // The test may have ended.
    let _ = behaviour.received.send(Received { headers, body });
    let status = StatusCode::from_u16(status).expect("it is a status");
    // A redirect leads back here, where it would be seen.
    (status, [(header::LOCATION, "/elsewhere")]).into_response()
}
