//! A lenient reader of answers: numbers or strings, missing and unknown fields, both error layers, and rubbish.

use std::collections::BTreeSet;

use jiff::{Timestamp, Zoned};
use serde_json::Value;

use super::encode::Operation;
use super::tree::{is_read, is_read_of_request, tree};
use crate::domain::name::ServerNo;
use crate::domain::retry::Layer;
use crate::domain::server::{Condition, Traits};
use crate::ports::cloud::ServerView;

/// How much of an unreadable body is shown, in characters.
const EXCERPT_CHARS_MAX: usize = 300;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<T> {
    Success(T),
    Error { layer: Layer, code: String, text: String, request_id: Option<String> },
}

/// The data of a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Success {
    pub(super) request_id: Option<String>,
    pub(super) total_rows: Option<u64>,
    /// The servers of the list; `None` where the answer has no list, which is not the same as an empty one.
    pub(super) servers: Option<Vec<ServerView>>,
}

/// What the answer to a start or stop says: the servers that the cloud has taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TakenUp {
    pub(super) request_id: Option<String>,
    pub(super) listed: BTreeSet<ServerNo>,
}

/// Reads the answer to a list, whatever the HTTP status was.
pub(super) fn read(operation: Operation, body: &[u8]) -> Said<Success> {
    told(operation, body, is_read, |response| Success {
        request_id: text(response, &["requestId"]),
        total_rows: text(response, &["totalRows"]).and_then(|rows| rows.parse().ok()),
        servers: list(response, "serverInstanceList").map(|list| list.iter().filter_map(server).collect()),
    })
}

/// Reads the answer to a start or stop, whatever the HTTP status was. How its servers stand is not looked at: reads show that.
pub(super) fn read_request(operation: Operation, body: &[u8]) -> Said<TakenUp> {
    told(operation, body, is_read_of_request, |response| TakenUp {
        request_id: text(response, &["requestId"]),
        listed: list(response, "serverInstanceList").into_iter().flatten().filter_map(number).collect(),
    })
}

/// What a body says; `success` reads the response of the operation where it is one.
fn told<T>(
    operation: Operation,
    body: &[u8],
    is_kept: fn(&str) -> bool,
    success: impl FnOnce(&Value) -> T,
) -> Said<T> {
    let Some(Value::Object(root)) = tree(body, is_kept) else {
        return unreadable(body);
    };
    if let Some(error) = told_error(&root) {
        return error;
    }
    let Some(response) = root.get(&format!("{}Response", operation.name())) else {
        return unreadable(body);
    };
    match text(response, &["returnCode", "responseCode"]).as_deref() {
        Some("0") => Said::Success(success(response)),
        Some(_) => server_error(response),
        None => unreadable(body),
    }
}

/// An error of either layer, where the answer is one.
pub(super) fn told_error<T>(root: &serde_json::Map<String, Value>) -> Option<Said<T>> {
    if let Some(error) = root.get("error") {
        return Some(Said::Error {
            layer: Layer::Gateway,
            code: text(error, &["errorCode"]).unwrap_or_default(),
            text: gateway_text(error),
            request_id: None,
        });
    }
    root.get("responseError").map(server_error)
}

fn gateway_text(error: &Value) -> String {
    let message = text(error, &["message"]).unwrap_or_default();
    match text(error, &["details"]).filter(|details| !details.is_empty() && *details != message) {
        Some(details) => shortened(&format!("{message}: {details}")),
        None => shortened(&message),
    }
}

fn server_error<T>(error: &Value) -> Said<T> {
    Said::Error {
        layer: Layer::Server,
        code: text(error, &["returnCode", "responseCode"]).unwrap_or_default(),
        text: shortened(&text(error, &["returnMessage", "responseMessage"]).unwrap_or_default()),
        request_id: text(error, &["requestId"]),
    }
}

pub(super) fn unreadable<T>(body: &[u8]) -> Said<T> {
    let text = String::from_utf8_lossy(body.get(..body.len().min(4 * EXCERPT_CHARS_MAX)).unwrap_or(body));
    let text = if body.is_empty() { "an empty answer".into() } else { shortened(&text) };
    Said::Error { layer: Layer::Unreadable, code: String::new(), text, request_id: None }
}

/// On one line, without control characters, at most [`EXCERPT_CHARS_MAX`] characters.
fn shortened(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// The first of several fields that holds a string, a number or a boolean, as text.
pub(super) fn text(value: &Value, fields: &[&str]) -> Option<String> {
    // JSON would lack it and XML would not.
    debug_assert!(fields.iter().all(|field| is_read(field) || *field == "hasMore"), "{fields:?}");
    fields.iter().find_map(|field| match value.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

pub(super) fn list<'a>(value: &'a Value, field: &str) -> Option<&'a [Value]> {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice)
}

/// A name as it can stand in a log line or on a terminal: no control characters, nothing that turns the text around.
pub(super) fn plain(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if odd(c) { '?' } else { c }).take(EXCERPT_CHARS_MAX).collect()
}

fn number(server: &Value) -> Option<ServerNo> {
    ServerNo::from_answer(&text(server, &["serverInstanceNo"])?)
}

/// A server without a number is none.
fn server(value: &Value) -> Option<ServerView> {
    let no = number(value)?;
    let code = |field: &str| {
        debug_assert!(is_read(field), "{field}");
        value.get(field).and_then(|field| text(field, &["code"])).unwrap_or_default()
    };
    let condition = Condition::from_codes(&code("serverInstanceStatus"), &code("serverInstanceOperation"));
    let word = |field: &str| text(value, &[field]).map(|word| plain(&word)).unwrap_or_default();
    let traits = Traits {
        name: Some(word("serverName")).filter(|name| !name.is_empty()),
        vpc: word("vpcNo"),
        subnet: word("subnetNo"),
        zone: word("zoneCode"),
        spec: word("serverSpecCode"),
        hypervisor: plain(&code("hypervisorType")),
        product: word("serverProductCode"),
        kind: plain(&code("serverInstanceType")),
    };
    let booted = text(value, &["uptime"]).and_then(|text| moment(&text));
    Some(ServerView { no, traits, condition, booted })
}

/// A moment as the cloud writes it: `2025-06-19T16:49:07+0900`, an offset without a colon; with one will do too.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    Zoned::strptime("%Y-%m-%dT%H:%M:%S%z", text)
        .map(|zoned| zoned.timestamp())
        .ok()
        .or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of the provider's guide, with its masked numbers.
    const GUIDE: &[u8] = include_bytes!("../../../tests/data/startServerInstances.json");

    fn error(body: &str) -> (Layer, String, String) {
        match read(Operation::Start, body.as_bytes()) {
            Said::Error { layer, code, text, .. } => (layer, code, text),
            Said::Success(_) => panic!("taken as a success: {body}"),
        }
    }

    fn success(body: &str) -> Success {
        match read(Operation::Start, body.as_bytes()) {
            Said::Success(success) => success,
            Said::Error { text, .. } => panic!("not taken: {text}"),
        }
    }

    #[test]
    fn the_answer_of_the_guide_is_read_with_its_masked_numbers() {
        let Said::Success(success) = read(Operation::Start, GUIDE) else { panic!("not read") };

        assert_eq!(success.request_id.as_deref(), Some("d0abd952-c464-4743-9e22-8f0a78dc8356"));
        assert_eq!(success.total_rows, Some(1));
        let server = &success.servers.unwrap()[0];
        assert_eq!(server.no.as_str(), "******8773");
        assert_eq!(server.traits.name.as_deref(), Some("test-***"));
        assert_eq!(server.condition.to_string(), "NSTOP/START");
        assert_eq!(server.booted, Some("2025-06-19T07:49:07Z".parse().unwrap()));
    }

    #[test]
    fn numbers_or_strings_missing_and_unknown_fields_and_unknown_codes_are_taken() {
        let found = success(
            r#"{"startServerInstancesResponse": {"returnCode": 0, "serverInstanceList": [
                {"serverInstanceNo": 1001, "serverInstanceStatus": {"code": "BRAND_NEW"}, "later": {"x": [1]}},
                {"serverName": "without a number"},
                {"serverInstanceNo": "1002", "uptime": "yesterday", "serverName": ""}]}}"#,
        );

        let shown: Vec<String> =
            found.servers.unwrap().iter().map(|s| format!("{} {}", s.no, s.condition)).collect();
        assert_eq!(shown, ["1001 BRAND_NEW/", "1002 /"]);
        assert_eq!((found.total_rows, found.request_id), (None, None));
    }

    #[test]
    fn errors_of_both_layers_and_spellings_are_read_in_json_and_xml() {
        let table = [
            (
                r#"{"error":{"errorCode":"210","message":"Permission Denied","details":"x"}}"#,
                Layer::Gateway,
                "210",
                "Permission Denied: x",
            ),
            (
                r#"{"error":{"errorCode":420,"message":"Rate Limited","details":""}}"#,
                Layer::Gateway,
                "420",
                "Rate Limited",
            ),
            (r#"{"error":{}}"#, Layer::Gateway, "", ""),
            (
                "{\n  \"responseError\": {\n \"returnCode\": \"3001008\",\n \"returnMessage\": \"a\\n b\" }}",
                Layer::Server,
                "3001008",
                "a b",
            ),
            (r#"{"responseError":{"responseCode":"800","responseMessage":"m"}}"#, Layer::Server, "800", "m"),
            (
                r#"{"startServerInstancesResponse":{"returnCode":"5","returnMessage":"m"}}"#,
                Layer::Server,
                "5",
                "m",
            ),
            (
                "<error><errorCode>210</errorCode><message>Permission Denied</message></error>",
                Layer::Gateway,
                "210",
                "Permission Denied",
            ),
            (
                "<responseError><returnCode>3001008</returnCode><returnMessage>m</returnMessage></responseError>",
                Layer::Server,
                "3001008",
                "m",
            ),
        ];

        for (body, layer, code, text) in table {
            assert_eq!(error(body), (layer, code.to_owned(), text.to_owned()), "{body}");
        }
    }

    #[test]
    fn html_nothing_halves_and_foreign_answers_are_unreadable_and_shown_in_part() {
        let long = format!("<html>{}</html>", "x ".repeat(5000));
        let guide = String::from_utf8_lossy(GUIDE);
        let half = guide.get(..600).unwrap();
        for body in [
            "",
            "<html><body>502 Bad Gateway</body></html>",
            half,
            r#"{"stopServerInstancesResponse":{"returnCode":"0"}}"#,
            r#"{"startServerInstancesResponse":{}}"#,
            "[]",
            &long,
        ] {
            let (layer, code, text) = error(body);
            assert_eq!((layer, code.as_str()), (Layer::Unreadable, ""), "{body}");
            assert!(text.chars().count() <= EXCERPT_CHARS_MAX + 1 && !text.is_empty());
        }
    }

    #[test]
    fn a_name_that_would_forge_a_line_is_made_plain() {
        let found = success(
            r#"{"startServerInstancesResponse": {"returnCode": "0", "serverInstanceList": [
                {"serverInstanceNo": "1", "serverName": "a\u001b[31mb\nerror c\u202ed"}]}}"#,
        );

        assert_eq!(found.servers.unwrap()[0].traits.name.as_deref(), Some("a?[31mb?error c?d"));
    }

    #[test]
    fn of_the_answer_to_a_request_the_servers_are_read_that_the_cloud_has_taken_up() {
        let json = br#"{"startServerInstancesResponse": {"requestId": "r", "returnCode": "0", "serverInstanceList": [
            {"serverInstanceNo": 1001, "serverInstanceStatus": {"code": "NSTOP"}}, {"serverName": "without a number"},
            {"serverInstanceNo": "1002"}]}}"#;
        let xml = b"<startServerInstancesResponse><requestId>r</requestId><returnCode>0</returnCode><serverInstanceList>\
            <serverInstance><serverInstanceNo>1001</serverInstanceNo><serverName>a</serverName></serverInstance>\
            <serverInstance><serverInstanceNo>1002</serverInstanceNo></serverInstance></serverInstanceList>\
            </startServerInstancesResponse>";

        let listed = ["1001", "1002"].map(|no| ServerNo::parse(no).unwrap()).into();
        let want = Said::Success(TakenUp { request_id: Some("r".into()), listed });
        assert_eq!(read_request(Operation::Start, json), want);
        assert_eq!(read_request(Operation::Start, xml), want);
        let refused = br#"{"responseError": {"requestId": "r", "returnCode": "10", "returnMessage": "m"}}"#;
        let (layer, code, text) = (Layer::Server, "10".into(), "m".into());
        let want = Said::Error { layer, code, text, request_id: Some("r".into()) };
        assert_eq!(read_request(Operation::Start, refused), want);
        let Said::Success(guide) = read_request(Operation::Start, GUIDE) else { panic!("not read") };
        assert_eq!(guide.listed.iter().map(ServerNo::as_str).collect::<Vec<_>>(), ["******8773"]);
    }

    #[test]
    fn an_answer_without_a_list_is_not_an_empty_list() {
        assert_eq!(success(r#"{"startServerInstancesResponse": {"returnCode": "0"}}"#).servers, None);
        let odd = r#"{"startServerInstancesResponse": {"returnCode": "0", "serverInstanceList": {"a": 1}}}"#;
        assert_eq!(success(odd).servers, None);
    }

    #[test]
    fn an_unreadable_answer_is_quoted_by_its_first_characters_however_wide_they_are() {
        let (layer, code, text) = error(&"서울".repeat(EXCERPT_CHARS_MAX));

        assert_eq!((layer, code.as_str()), (Layer::Unreadable, ""));
        assert_eq!(text.chars().count(), EXCERPT_CHARS_MAX + 1, "and a sign that there was more");
    }

    #[test]
    fn xml_of_a_success_is_read_like_json() {
        let found = success(
            "<startServerInstancesResponse><requestId>r</requestId><returnCode>0</returnCode><totalRows>1</totalRows>\
             <serverInstanceList><serverInstance><serverInstanceNo>1001</serverInstanceNo><serverName>a&amp;b</serverName>\
             <serverInstanceStatus><code>RUN</code></serverInstanceStatus>\
             <serverInstanceOperation><code>SHTDN</code></serverInstanceOperation>\
             </serverInstance></serverInstanceList></startServerInstancesResponse>",
        );

        let server = &found.servers.unwrap()[0];
        assert_eq!(server.condition.to_string(), "RUN/SHTDN");
        assert_eq!(server.traits.name.as_deref(), Some("a&b"));
        assert_eq!(found.total_rows, Some(1));
    }
}
