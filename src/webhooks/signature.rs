//! The signature of the Standard Webhooks specification: HMAC-SHA256 over id, time and body, in base64 (`v1`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::Secret;

const PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Reads a secret as the specification writes it.
    ///
    /// # Errors
    /// Where it is not one; the message does not show it.
    pub fn read(secret: &Secret) -> Result<Self, String> {
        let bytes = secret.expose().strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok());
        bytes.filter(|bytes| KEY_BYTES.contains(&bytes.len())).map(Self).ok_or_else(|| {
            let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
            format!("`{PREFIX}` and {least} to {most} random bytes in base64 are expected (openssl rand -base64 32)")
        })
    }

    /// What stands in `webhook-signature`.
    #[must_use]
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: usize) -> Secret {
        Secret::new(format!("whsec_{}", STANDARD.encode(vec![7; bytes])))
    }

    /// The example of the specification's own libraries.
    #[test]
    fn a_known_message_has_its_known_signature() {
        let key = SigningKey::read(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).expect("it is a key");
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_are_of_the_form_and_length_that_the_specification_wants() {
        assert!([24, 32, 64].iter().all(|bytes| SigningKey::read(&secret(*bytes)).is_ok()));
        for bad in [secret(23), secret(65), Secret::new("whsec_"), Secret::new("hunter2"), Secret::new("whsec_!!!")] {
            let error = SigningKey::read(&bad).expect_err("it is no key");
            assert!(error.contains("whsec_") && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(format!("{:?}", SigningKey::read(&secret(24)).expect("it is a key")), "SigningKey(…)");
    }
}
