//! A client of the service: it speaks to it over HTTP alone, as any program would.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::{ClientError, Refusal};
use crate::cli::error::CliError;
use crate::domain::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one service.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// Speaks to the service at an address such as `http://127.0.0.1:8080`.
    pub(in crate::cli) fn new(base: Url, key: Option<&Secret>) -> Result<Self, CliError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let value = HeaderValue::try_from(format!("Bearer {}", key.expose()));
            let mut value =
                value.map_err(|_| CliError::Usage("the API key holds characters that no header can".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("matryo/", env!("CARGO_PKG_VERSION")))
            // A POST that is redirected would arrive as a GET.
            .redirect(Policy::none());
        // What runs on this machine is reached without the proxy that leads elsewhere.
        let builder = if is_this_machine(&base) { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build()?, base })
    }

    /// Where the service is, for people.
    pub(in crate::cli) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Begins a request. A part of the path may hold anything: it is encoded.
    pub(in crate::cli) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("URLs of HTTP have paths").pop_if_empty().extend(path);
        self.http.request(method, url)
    }

    /// Begins to read something.
    pub(in crate::cli) fn get(&self, path: &[&str]) -> RequestBuilder {
        // What is not asked for as JSON might come in another form.
        self.request(Method::GET, path).header("accept", "application/json")
    }

    /// Reads something as JSON.
    pub(in crate::cli) async fn read(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.json(self.get(path)).await
    }

    /// Has something done that takes no more than its name; the answer's JSON.
    pub(in crate::cli) async fn act(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.json(self.request(Method::POST, path)).await
    }

    /// Deletes something.
    pub(in crate::cli) async fn delete(&self, path: &[&str]) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Sends a request; the answer's JSON.
    pub(in crate::cli) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.odd(&format!("its JSON is not as expected: {error}")))
    }

    /// Sends a request; the answer, where it is none of an error.
    pub(in crate::cli) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if let Some(target) = response.headers().get("location").and_then(|target| target.to_str().ok())
            && status.is_redirection()
        {
            return Err(self.odd(&format!("it leads to {target}; give that address")));
        }
        let body = response.bytes().await.map_err(|error| self.broken(&error))?;
        Err(match Refusal::read(status, &body) {
            Some(refusal) => ClientError::Refused(refusal),
            None => self.odd(&format!("it answers {status}, but not as Matryo does")),
        })
    }

    /// What to say of a connection that could not be made or broke off.
    pub(in crate::cli) fn broken(&self, error: &reqwest::Error) -> ClientError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        ClientError::Unreachable(if error.is_connect() || error.is_timeout() {
            format!(
                "no server answers at {} ({cause}); start one with `matryo serve`, or name another with --url",
                self.address()
            )
        } else {
            format!("the connection to {} broke off: {cause}", self.address())
        })
    }

    fn odd(&self, what: &str) -> ClientError {
        ClientError::Odd(format!("{}: {what}; is it a Matryo server's address?", self.address()))
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(base: &str, key: Option<&Secret>) -> Client {
        Client::new(base.parse().expect("it is a URL"), key).expect("it can be made")
    }

    fn url(base: &str, path: &[&str]) -> String {
        client(base, None).get(path).build().expect("it is a request").url().to_string()
    }

    #[test]
    fn paths_are_encoded_below_the_base() {
        assert_eq!(url("http://h:1", &["v1", "jobs"]), "http://h:1/v1/jobs");
        assert_eq!(url("http://h/p/", &["v1", "models", "a/b c?#"]), "http://h/p/v1/models/a%2Fb%20c%3F%23");
        assert_eq!(url("http://h/p", &["v1", "models", ".."]), "http://h/p/v1/models");
    }

    #[test]
    fn a_key_is_sent_and_never_shown() {
        let client = client("http://h", Some(&Secret::new("s3cret")));
        let shown = format!("{client:?} {:?}", client.get(&["v1"]));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(Client::new("http://h".parse().expect("it is a URL"), Some(&Secret::new("a\nb"))).is_err());
    }

    #[test]
    fn only_this_machine_is_reached_past_a_proxy() {
        let is = |url: &str| is_this_machine(&url.parse().expect("it is a URL"));
        assert!(is("http://127.0.0.2:1") && is("http://[::1]") && is("https://localhost"));
        assert!(!is("http://10.0.0.1") && !is("http://localhost.example") && !is("http://[::2]"));
    }
}
