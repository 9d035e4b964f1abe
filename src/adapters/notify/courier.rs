//! One message to one receiver: Slack, a webhook, or a program.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::Message;
use super::{mail, plain, post};
use crate::adapters::secrets::fetch;
use crate::settings::{Notify, NotifyKind};

/// How long a program may take.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);
/// How long after its end a program's last words are waited for.
const SAID_LIMIT: Duration = Duration::from_secs(1);
/// So much of what a program says of its failure is shown.
const SAID_BYTES_MAX: u64 = 300;

/// Delivers a message. Returns within half a minute.
///
/// # Errors
/// Why it did not arrive, in words without any secret.
pub async fn deliver(notify: &Notify, message: &Message, now: Timestamp) -> Result<(), String> {
    match &notify.kind {
        NotifyKind::Slack { url } => {
            let url = fetch(url).map_err(|error| error.to_string())?;
            let body = message.slack().to_string().into_bytes();
            post::send(&url, notify.allow_private, json_headers(), Some(body)).await
        }
        NotifyKind::Webhook { url, secret } => {
            let url = fetch(url).map_err(|error| error.to_string())?;
            let body = message.json().to_string();
            let mut headers = json_headers();
            let at = now.as_second();
            put(&mut headers, "webhook-id", &message.id);
            put(&mut headers, "webhook-timestamp", &at.to_string());
            if let Some(secret) = secret {
                let secret = fetch(secret).map_err(|error| error.to_string())?;
                put(
                    &mut headers,
                    "webhook-signature",
                    &signature(secret.expose_secret(), &message.id, at, &body)?,
                );
            }
            post::send(&url, notify.allow_private, headers, Some(body.into_bytes())).await
        }
        NotifyKind::Email { smtp, from, to } => {
            let smtp = fetch(smtp).map_err(|error| error.to_string())?;
            mail::send(&smtp, (from, to), notify.allow_private, message).await
        }
        NotifyKind::Command { command } => run(command, message).await,
    }
}

fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The signature of the Standard Webhooks specification (version 1, symmetric): HMAC-SHA256 over `id.timestamp.body` with the key that
/// the secret holds in base64 after `whsec_`.
fn signature(secret: &str, id: &str, at: i64, body: &str) -> Result<String, String> {
    let key = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = BASE64_STANDARD.decode(key).map_err(|_| {
        "its `secret` is not what Standard Webhooks asks for: `whsec_` and 24 to 64 bytes in base64"
            .to_owned()
    })?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

/// Runs a program that takes the message as JSON on its standard input, and as text in `SUNUP_TEXT`.
async fn run(command: &[String], message: &Message) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Err("no program is named".into()) };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("SUNUP_TITLE", message.title())
        .env("SUNUP_TEXT", message.text())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    let (input, output) = (child.stdin.take(), child.stderr.take());
    let body = message.json().to_string();
    // What it says is heard beside: a child that it leaves behind may hold that end open for long.
    let hearing = tokio::spawn(async move {
        let mut said = Vec::new();
        if let Some(output) = output {
            let _ = output.take(SAID_BYTES_MAX).read_to_end(&mut said).await;
        }
        said
    });
    let talk = async {
        if let Some(mut input) = input {
            // A program that does not read is no failure.
            let _ = input.write_all(body.as_bytes()).await;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(PROGRAM_LIMIT, talk)
        .await
        .map_err(|_| format!("`{program}` did not end within {}s and was killed", PROGRAM_LIMIT.as_secs()))?;
    let said = tokio::time::timeout(SAID_LIMIT, hearing).await.ok().and_then(Result::ok).unwrap_or_default();
    let ended = ended.map_err(|error| format!("`{program}`: {error}"))?;
    if ended.success() {
        return Ok(());
    }
    let said = plain(&said);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    Err(format!("`{program}` ended with {ended}{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::Language;

    #[test]
    fn a_signature_is_what_another_implementation_computes() {
        // Computed with Python's hmac module; secret, id, time and body are those of the specification's examples.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = "{\"test\": 2432232314}";

        let signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);

        assert_eq!(signed, Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".into()));
        assert!(signature("whsec_not base64!", "id", 0, "").unwrap_err().contains("whsec_"));
    }

    fn message() -> Message {
        Message { id: "msg_1".into(), host: "office".into(), language: Language::English, items: Vec::new() }
    }

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_program_gets_the_message_and_its_failure_is_told_in_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("got");
        let write = format!("cat > {0}; echo \"$SUNUP_TITLE\" >> {0}", path.display());

        run(&shell(&write), &message()).await.unwrap();
        let failed = run(&shell("echo no such user >&2; exit 7"), &message()).await;
        let deaf = run(&shell("exec <&-; exit 0"), &message()).await;
        let parent = run(&shell("sleep 60 & exit 0"), &message()).await;
        let none = run(&["/nonexistent/program".into()], &message()).await;

        let got = std::fs::read_to_string(&path).unwrap();
        assert!(got.contains("\"type\":\"sunup.notices\"") && got.contains("Sunup on office"), "{got}");
        assert_eq!(failed, Err("`/bin/sh` ended with exit status: 7: no such user".into()));
        assert_eq!((deaf, parent), (Ok(()), Ok(())));
        assert!(none.unwrap_err().contains("cannot be run"));
    }
}
