//! Multipart forms, and datasets uploaded by them.

use axum::body::Body;
use axum::http::{Method, Request, header};

use super::test_app::{Answer, TestApp, request};

pub(crate) const BOUNDARY: &str = "a-boundary-of-the-tests";

/// A multipart form under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<u8>);

impl Form {
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value.as_bytes())
    }

    pub(crate) fn file(self, name: &str, file_name: &str, content: impl AsRef<[u8]>) -> Self {
        self.part(&format!("name=\"{name}\"; filename=\"{file_name}\""), content.as_ref())
    }

    fn part(mut self, disposition: &str, content: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// The form's bytes, with its end.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }

    /// The request that uploads it.
    pub(crate) fn post(self, path: &str) -> Request<Body> {
        form_request(path).body(self.bytes().into()).expect("it is a request")
    }
}

/// Begins a request whose body is a form.
pub(crate) fn form_request(path: &str) -> axum::http::request::Builder {
    request(Method::POST, path).header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
}

/// CSV of question–passage pairs numbered from 0.
pub(crate) fn csv_pairs(rows: usize) -> String {
    let mut csv = String::from("anchor,positive\n");
    for row in 0..rows {
        csv += &format!("what is number {row},the passage about number {row}\n");
    }
    csv
}

impl TestApp {
    /// Uploads a file as a dataset.
    pub(crate) async fn upload(&self, file_name: &str, content: impl AsRef<[u8]>) -> Answer {
        self.send(Form::default().file("file", file_name, content).post("/v1/datasets")).await
    }
}
