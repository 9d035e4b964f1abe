//! Whether a request is signed as the gateway wants it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use sha2::Sha256;

/// The most that a timestamp may differ from the gateway's clock, in milliseconds.
const DIFFERENCE_MAX_MS: i64 = 5 * 60 * 1000;

/// A key pair of the imitated cloud.
#[derive(Debug, Clone)]
pub struct Account {
    /// The access key id.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

/// The header that says when a request was signed, in milliseconds since 1970.
const TIMESTAMP: &str = "x-ncp-apigw-timestamp";

/// When a request says that it was signed, in microseconds since 1970.
pub(super) fn signed_at(headers: &HeaderMap) -> Option<i64> {
    headers.get(TIMESTAMP)?.to_str().ok()?.parse::<i64>().ok()?.checked_mul(1000)
}

/// Finds the account of a request, or says why it is not believed.
pub(super) fn authenticate<'a>(
    accounts: &'a [Account],
    method: &str,
    target: &str,
    headers: &HeaderMap,
    now_ms: i64,
) -> Result<&'a Account, &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header(TIMESTAMP).ok_or("the timestamp header is missing")?;
    let access = header("x-ncp-iam-access-key").ok_or("the access key header is missing")?;
    let given = header("x-ncp-apigw-signature-v2")
        .or_else(|| header("x-ncp-apigw-signature-v1"))
        .ok_or("the signature header is missing")?;
    let account =
        accounts.iter().find(|account| account.access_key == access).ok_or("the access key is unknown")?;
    let moment: i64 = timestamp.parse().map_err(|_| "the timestamp is no number")?;
    if moment.abs_diff(now_ms) > DIFFERENCE_MAX_MS.unsigned_abs() {
        return Err("the timestamp differs from the gateway's clock by more than 5 minutes");
    }
    let message = format!("{method} {target}\n{timestamp}\n{access}");
    let mut mac =
        Hmac::<Sha256>::new_from_slice(account.secret_key.as_bytes()).map_err(|_| "the key is unusable")?;
    mac.update(message.as_bytes());
    if STANDARD.encode(mac.finalize().into_bytes()) == given {
        Ok(account)
    } else {
        Err("the signature is wrong")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const TARGET: &str = "/vserver/v2/getServerInstanceList?responseFormatType=json";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn judge(headers: &HeaderMap, now_ms: i64) -> Result<(), &'static str> {
        let account = Account { access_key: "TestAccessKey".into(), secret_key: "TestSecretKey".into() };
        authenticate(&[account], "GET", TARGET, headers, now_ms).map(|_| ())
    }

    #[test]
    fn the_published_vector_is_believed_under_both_header_names_within_five_minutes() {
        let signature = "FPsYYX8fuMAgi+cue3eACOW0dNtIwu1LYWfg/megA2M=";
        let with = |name| {
            let time = ("x-ncp-apigw-timestamp", "1234567890123");
            headers(&[time, ("x-ncp-iam-access-key", "TestAccessKey"), (name, signature)])
        };

        for name in ["x-ncp-apigw-signature-v2", "x-ncp-apigw-signature-v1"] {
            assert_eq!(judge(&with(name), 1_234_567_890_123), Ok(()));
            assert_eq!(judge(&with(name), 1_234_567_890_123 + DIFFERENCE_MAX_MS), Ok(()));
            assert!(judge(&with(name), 1_234_567_890_123 + DIFFERENCE_MAX_MS + 1).is_err());
            assert!(judge(&with(name), 1_234_567_890_123 - DIFFERENCE_MAX_MS - 1).is_err());
        }
        assert!(judge(&headers(&[]), 0).is_err());
    }
}
