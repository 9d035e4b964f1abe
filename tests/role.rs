//! Temporary keys of a server role, from a metadata service in this process.

use std::sync::Arc;
use std::time::Duration;

/// A metadata service that answers from a list and counts its requests.
async fn metadata(answers: Vec<(u16, String)>) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let (status, body) = match head.starts_with("GET /latest/meta-data/iam/security-credentials/ ") {
                true => (200, "the-role\n".to_owned()),
                false => {
                    assert!(head.starts_with("GET /latest/meta-data/iam/security-credentials/the-role "));
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    answers.next().unwrap_or((500, String::new()))
                }
            };
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (base, asked)
}

#[tokio::test]
async fn the_keys_of_a_role_are_renewed_before_they_end_and_held_while_they_cannot_be() {
    use secrecy::ExposeSecret;
    use sunup::adapters::ncp::role::RoleKeys;
    let keys = |id: &str, ends: &str| {
        let body = serde_json::json!({"AccessKeyId": id, "SecretAccessKey": "s", "Expiration": ends});
        (200, body.to_string())
    };
    let answers = vec![
        keys("first", "2026-11-23T10:00:00Z"),
        (500, String::new()),
        (200, "{\"SecretAccessKey\": \"canary-key\"".into()),
        keys("second", "2026-11-23T19:00:00+0900"),
        keys("third", "2026-11-23T12:00:00Z"),
    ];
    let (base, asked) = metadata(answers).await;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let role = Arc::new(RoleKeys::new(&base));
    let at = |time: &str| format!("2026-11-23T{time}Z").parse::<jiff::Timestamp>().unwrap();
    let id = async |time: &str| {
        RoleKeys::current(&role, at(time)).await.map(|keys| keys.access.expose_secret().to_owned())
    };
    let count = || asked.load(std::sync::atomic::Ordering::Relaxed);

    assert!(role.in_use().is_none());
    assert_eq!((id("09:00:00").await.unwrap().as_str(), count()), ("first", 1));
    let in_use = || role.in_use().map(|keys| keys.access.expose_secret().to_owned());
    assert_eq!(in_use().as_deref(), Some("first"));
    assert_eq!((id("09:49:59").await.unwrap().as_str(), count()), ("first", 1), "held");
    assert_eq!(id("09:50:00").await.unwrap(), "first", "what is good is used while new ones are fetched");
    let fetched = async {
        while count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), fetched).await.expect("it is renewed before it ends");
    assert_eq!((id("09:50:05").await.unwrap().as_str(), count()), ("first", 2), "not asked again at once");
    let ended = id("10:00:00").await.unwrap_err();
    assert_eq!(count(), 3);
    assert!(ended.contains("metadata service") && !ended.contains("canary-key"), "{ended}");
    assert_eq!((id("10:00:10").await.unwrap_err().is_empty(), count()), (false, 4), "ended when it came");
    role.refused();
    assert_eq!((id("10:00:11").await.unwrap().as_str(), count()), ("third", 5), "newer ones after a refusal");
}
