//! What stands for mail in a build without the feature `email`: it says so.

use secrecy::SecretString;

use super::message::Message;

const WORDS: &str = "this sunup was built without mail (its feature `email`)";

/// Tells nobody.
///
/// # Errors
/// Always.
pub async fn send(_: &SecretString, _: (&str, &[String]), _: bool, _: &Message) -> Result<(), String> {
    std::future::ready(Err(WORDS.into())).await
}

/// Looks at nothing.
///
/// # Errors
/// Always.
pub async fn check(_: &SecretString, _: (&str, &[String]), _: bool) -> Result<(), String> {
    std::future::ready(Err(WORDS.into())).await
}
