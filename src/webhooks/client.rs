//! One attempt to tell a receiver. Nothing of its answer is read but the status, so that a URL cannot be used to look at
//! what stands behind it.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::domain::{unix_seconds, utc_now};

use super::SigningKey;
use super::address::PublicAddresses;

/// How long a connection may take, and the whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// What an attempt came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The receiver took it.
    Delivered(u16),
    /// It may be taken another time.
    Failed { status: Option<u16>, error: String },
    /// It never will.
    Refused { status: Option<u16>, error: String },
}

impl Outcome {
    pub(super) fn refused(error: impl Into<String>) -> Self {
        Self::Refused { status: None, error: error.into() }
    }

    fn of_status(status: u16) -> Self {
        let failed = |error: &str| Self::Failed { status: Some(status), error: error.to_owned() };
        match status {
            200..=299 => Self::Delivered(status),
            300..=399 => failed("the receiver answered with a redirect, which is not followed"),
            // The specification's sign that a receiver wants no more.
            410 => Self::Refused { status: Some(status), error: "the receiver is gone (410)".into() },
            _ => failed("the receiver answered with a status that is not of success"),
        }
    }

    /// Names the cause and never the URL, which may hold a key.
    fn of_error(error: &reqwest::Error) -> Self {
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let error = if error.is_timeout() {
            format!("no answer within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            format!("no connection: {cause}")
        } else {
            "the connection broke off".to_owned()
        };
        Self::Failed { status: None, error }
    }
}

/// The ways to receivers.
pub(super) struct Clients {
    /// To anywhere, for the URL that the operator gave.
    trusted: Client,
    /// To where clients may send us.
    guarded: Client,
}

impl Clients {
    /// # Errors
    /// Where the system gives no TLS to connect with.
    pub(super) fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        // A proxy would connect to what it likes, and a redirect lead there; a kept connection is not checked again.
        let builder = || {
            Client::builder()
                .user_agent(concat!("matryo/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .no_proxy()
                .referer(false)
                .pool_max_idle_per_host(0)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
        };
        let trusted = builder().build()?;
        let guarded = if allow_private { trusted.clone() } else { builder().dns_resolver(PublicAddresses).build()? };
        Ok(Self { trusted, guarded })
    }

    /// Tells a receiver.
    pub(super) async fn post(
        &self,
        is_trusted: bool,
        url: Url,
        key: Option<&SigningKey>,
        id: &str,
        body: &str,
    ) -> Outcome {
        let timestamp = unix_seconds(&utc_now()).expect("it was just written");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-id", HeaderValue::try_from(id).expect("an id is printable"));
        if let Some(key) = key {
            let signature = HeaderValue::try_from(key.sign(id, timestamp, body)).expect("base64 is printable");
            headers.insert("webhook-signature", signature);
        }
        let client = if is_trusted { &self.trusted } else { &self.guarded };
        match client.post(url).headers(headers).body(body.to_owned()).send().await {
            Ok(response) => Outcome::of_status(response.status().as_u16()),
            Err(error) => Outcome::of_error(&error),
        }
    }
}
