//! The cookie that stands for the API key in a browser, which cannot send a header of its own choice with a page.
//!
//! Its value is an end and a code that only who has the key can make for it: nothing is stored, and a new key ends every
//! session.

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::Secret;

const NAME: &str = "matryo_session";
/// How long one log-in lasts.
const SECONDS: i64 = 14 * 24 * 3600;
/// Keeps the code apart from any other that the same key may once make.
const PURPOSE: &[u8] = b"matryo dashboard session, ends at ";

/// The `Set-Cookie` of a new session.
pub(super) fn begin(key: &Secret, headers: &HeaderMap) -> HeaderValue {
    let end = now() + SECONDS;
    cookie(&format!("{end}.{}", code(key, end)), SECONDS, headers)
}

/// The `Set-Cookie` that ends a session.
pub(super) fn end(headers: &HeaderMap) -> HeaderValue {
    cookie("", 0, headers)
}

/// True where a request brings the cookie of a session that goes on.
pub(super) fn goes_on(headers: &HeaderMap, key: &Secret) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.any(|(name, value)| name == NAME && is_valid(value, key, now()))
}

fn is_valid(value: &str, key: &Secret, now: i64) -> bool {
    let Some((end, given)) = value.split_once('.') else { return false };
    let Ok(end) = end.parse::<i64>() else { return false };
    now < end && given.as_bytes().ct_eq(code(key, end).as_bytes()).into()
}

fn code(key: &Secret, end: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("a key of any length will do");
    mac.update(PURPOSE);
    mac.update(end.to_string().as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// No script reads it, no other site's page sends it, and where the browser came by TLS it goes by nothing else.
fn cookie(value: &str, seconds: i64, headers: &HeaderMap) -> HeaderValue {
    let by_tls =
        headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if by_tls { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).expect("digits and letters are printable")
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_the_keys_alone_and_ends() {
        let key = Secret::new("s3cret");
        let value = format!("1000.{}", code(&key, 1000));
        assert!(is_valid(&value, &key, 999));
        assert!(!is_valid(&value, &key, 1000));
        assert!(!is_valid(&value, &Secret::new("another"), 999));
        for forged in
            [format!("2000.{}", code(&key, 1000)), "1000.".into(), "1000".into(), "s3cret".into(), String::new()]
        {
            assert!(!is_valid(&forged, &key, 999), "{forged}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_does_not_hold_the_key() {
        let key = Secret::new("s3cret");
        let mut headers = HeaderMap::new();
        let set = begin(&key, &headers).to_str().unwrap().to_owned();
        assert!(
            set.contains("HttpOnly; SameSite=Strict") && !set.contains("Secure") && !set.contains("s3cret"),
            "{set}"
        );
        let pair = set.split(';').next().unwrap();
        headers.insert(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap());
        assert!(goes_on(&headers, &key));
        headers.insert(header::COOKIE, "theme=dark".parse().unwrap());
        assert!(!goes_on(&headers, &key));
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert!(end(&headers).to_str().unwrap().ends_with("Max-Age=0; HttpOnly; SameSite=Strict; Secure"));
    }
}
