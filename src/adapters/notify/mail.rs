//! One message by electronic mail, over a connection that is encrypted wherever it leaves the machine.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::Message as Mail;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::message::Message;
use super::{plain, post};
use crate::domain::notice::Language;

/// How long one mail may take until the server has taken it.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a server is waited for at the farewell.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// The most characters of an error that are told.
const WORDS_CHARS_MAX: usize = 300;

/// Hands a message to a mail server: `smtps://` (encrypted from the beginning), or `smtp://`, which must become so by STARTTLS, except on
/// this machine. The server's address carries a user and a password where it asks for them.
///
/// # Errors
/// Why it was not taken, in words without the address.
pub async fn send(
    server: &SecretString,
    (from, to): (&str, &[String]),
    allow_private: bool,
    message: &Message,
) -> Result<(), String> {
    let office = post_office(server, allow_private).await?;
    let mut refused = Vec::new();
    // One mail for each address: a colleague who has left must not keep the others from being told.
    for address in to {
        let mail = written(from, std::slice::from_ref(address), message)?;
        match tokio::time::timeout(LIMIT, office.hand_over(&mail)).await {
            Ok(Ok(mut connection)) => {
                // It has the mail: a server that is silent at the farewell must not get it again.
                let _ = tokio::time::timeout(FAREWELL_LIMIT, connection.quit()).await;
            }
            Ok(Err(error)) => refused.push(words(&error, server)),
            Err(_) => refused.push(format!("the mail server did not take it within {}s", LIMIT.as_secs())),
        }
    }
    match refused.pop() {
        Some(words) if refused.len() + 1 == to.len() => Err(words),
        Some(words) => {
            let count = refused.len() + 1;
            tracing::warn!("{count} of {} addresses did not get a mail: {words}; mend `to`", to.len());
            Ok(())
        }
        None => Ok(()),
    }
}

/// Why a mail was not taken. What a server says in words may repeat addresses and passwords in any spelling: its code alone is told.
fn words(error: &smtp::Error, server: &SecretString) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None => {
            let shown = post::redacted(&plain(chain(error).as_bytes()), &post::parts_of(server));
            shown.chars().take(WORDS_CHARS_MAX).collect()
        }
    }
}

/// An error with what lies beneath it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn written(from: &str, to: &[String], message: &Message) -> Result<Mail, String> {
    let mailbox = |address: &str| {
        address.parse::<Mailbox>().map_err(|error| format!("`{address}` is no mail address: {error}"))
    };
    let from = mailbox(from)?;
    let id = format!("<{}@{}>", message.id, from.email.domain());
    let mut mail = Mail::builder().subject(message.title()).message_id(Some(id)).from(from);
    for address in to {
        mail = mail.to(mailbox(address)?);
    }
    let mail = mail.header(header::ContentType::TEXT_PLAIN);
    mail.body(message.text()).map_err(|error| format!("no mail can be made of it: {error}"))
}

/// How a connection to a mail server is encrypted.
enum Safety {
    /// From the beginning.
    Wrapped(TlsParameters),
    /// Before anything is said: by STARTTLS.
    Upgraded(TlsParameters),
    /// It does not leave this machine.
    Local,
}

/// A mail server that may be used.
struct PostOffice {
    address: SocketAddr,
    safety: Safety,
    credentials: Option<Credentials>,
}

impl PostOffice {
    /// Gives a mail to the server. The connection that comes back has nothing left to do but to say farewell.
    async fn hand_over(&self, mail: &Mail) -> Result<AsyncSmtpConnection, smtp::Error> {
        let hello = ClientId::default();
        let wrapped = match &self.safety {
            Safety::Wrapped(parameters) => Some(parameters.clone()),
            Safety::Upgraded(_) | Safety::Local => None,
        };
        let connecting =
            AsyncSmtpConnection::connect_tokio1(self.address, Some(LIMIT), &hello, wrapped, None);
        let mut connection = connecting.await?;
        if let Safety::Upgraded(parameters) = &self.safety {
            connection.starttls(parameters.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        connection.send(mail.envelope(), &mail.formatted()).await?;
        Ok(connection)
    }
}

async fn post_office(server: &SecretString, allow_private: bool) -> Result<PostOffice, String> {
    let url = post::url_of(server)?;
    let implicit = match url.scheme() {
        "smtps" => true,
        "smtp" => false,
        _ => return Err("its address does not begin with smtps:// or smtp://".into()),
    };
    let host = url.host_str().ok_or("its address has no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(if implicit { 465 } else { 587 });
    let addresses = post::resolved(bare, port, allow_private).await?;
    // The connection goes to just what was looked at.
    let address = *addresses.first().ok_or("its host has no address")?;
    let parameters = TlsParameters::new(bare.to_owned()).map_err(|error| chain(&error))?;
    let safety = match implicit {
        true => Safety::Wrapped(parameters),
        false if address.ip().is_loopback() => Safety::Local,
        false => Safety::Upgraded(parameters),
    };
    let credentials =
        url.password().map(|password| Credentials::new(decoded(url.username()), decoded(password)));
    Ok(PostOffice { address, safety, credentials })
}

/// A part of a URL without its `%` escapes.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// Whether the server's address and those of people may be used: its host is looked up, and nothing is sent.
///
/// # Errors
/// Why not, in words without the address.
pub async fn check(
    server: &SecretString,
    (from, to): (&str, &[String]),
    allow_private: bool,
) -> Result<(), String> {
    let message =
        Message { id: "msg_0".into(), host: String::new(), language: Language::English, items: Vec::new() };
    written(from, to, &message)?;
    post_office(server, allow_private).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[tokio::test]
    async fn a_mail_server_must_be_public_or_allowed_and_its_address_one_of_mail() {
        let refused = async |text: &str, allow| post_office(&server(text), allow).await.err();

        assert!(refused("https://mail.example", true).await.unwrap().contains("smtps://"));
        assert!(refused("smtps://127.0.0.1", false).await.unwrap().contains("allow_private = true"));
        assert!(refused("smtp://10.0.0.7:25", false).await.unwrap().contains("not of the public internet"));
        assert_eq!(refused("smtps://127.0.0.1", true).await, None);
        assert_eq!(refused("smtp://user:p%40ss@10.0.0.7", true).await, None);
    }

    #[test]
    fn users_and_passwords_are_read_without_their_escapes() {
        assert_eq!(decoded("kim%40example.com"), "kim@example.com");
        assert_eq!(decoded("a+b%2Bc%26d"), "a+b+c&d");
    }

    #[test]
    fn a_mail_names_its_message_so_that_the_same_one_is_known_again() {
        let message = Message {
            id: "msg_17".into(),
            host: "office".into(),
            language: Language::English,
            items: Vec::new(),
        };
        let to = ["Kim <kim@example.com>".to_owned(), "lee@example.com".to_owned()];

        let mail = written("Sunup <sunup@example.com>", &to, &message).unwrap();

        let text = String::from_utf8(mail.formatted()).unwrap();
        assert!(text.contains("Message-ID: <msg_17@example.com>"), "{text}");
        assert!(text.contains("lee@example.com") && text.contains("Subject: Sunup on office"), "{text}");
        assert!(written("nobody", &to, &message).unwrap_err().contains("`nobody` is no mail address"));
    }
}
