//! The Resource Manager, which knows the tags: another host and style than the server API.
//!
//! That a server's `resourceId` is its `serverInstanceNo` is not documented, so only resources count whose number *and* name are
//! those of a server in the account's own list.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::encode::Wire;
use super::read::{Said, list, plain, text, told_error, unreadable};
use super::tree::{is_read, tree};
use crate::domain::group::Tag;
use crate::domain::name::ServerNo;
use crate::ports::cloud::ServerView;

/// The path of the list of resources.
const PATH: &str = "/api/v1/resources";
/// How many resources one page holds: the most that the documentation allows.
const PAGE_SIZE: u32 = 100;

/// One page of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resources {
    pub(super) items: Vec<Resource>,
    pub(super) has_more: bool,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    id: String,
    name: String,
}

impl Resource {
    /// The server that it is, if it is one of these.
    pub(super) fn server_among(&self, servers: &BTreeMap<&str, &ServerView>) -> Option<ServerNo> {
        let server = servers.get(self.id.as_str())?;
        (server.traits.name.as_deref() == Some(self.name.as_str())).then(|| server.no.clone())
    }
}

/// The request for a page, from 0.
pub(super) fn wire(tag: &Tag, region: &str, page: u32) -> Wire {
    let tag = match &tag.value {
        Some(value) => json!({"tagKey": tag.key, "tagValue": value}),
        None => json!({"tagKey": tag.key}),
    };
    let body = json!({"regionCode": region, "tag": [tag], "page": page, "size": PAGE_SIZE});
    Wire {
        method: "POST",
        target: PATH.into(),
        body: Some(("application/json; charset=utf-8", body.to_string())),
    }
}

/// Reads an answer.
pub(super) fn read(body: &[u8]) -> Said<Resources> {
    let Some(Value::Object(root)) = tree(body, is_read) else {
        return unreadable(body);
    };
    if let Some(error) = told_error(&root) {
        return error;
    }
    let root = Value::Object(root);
    let Some(items) = list(&root, "items") else {
        return unreadable(body);
    };
    let word = |item: &Value, field: &str| text(item, &[field]).map(|word| plain(&word)).unwrap_or_default();
    let items: Vec<Resource> = items
        .iter()
        .map(|item| Resource { id: word(item, "resourceId"), name: word(item, "resourceName") })
        .collect();
    // A full page that does not say whether it is the last one is not taken for it.
    let is_full = items.len() >= usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
    let has_more = match text(&root, &["hasMore"]) {
        Some(more) => more == "true",
        None => is_full,
    };
    Said::Success(Resources { items, has_more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::server::{Condition, Traits};

    fn view(no: &str, name: &str) -> ServerView {
        let traits = Traits { name: Some(name.into()), ..Traits::default() };
        let condition = Condition::from_codes("RUN", "NULL");
        ServerView { no: ServerNo::parse(no).unwrap(), traits, condition, booted: None }
    }

    #[test]
    fn a_page_is_asked_for_as_the_documentation_has_it() {
        let wire = wire(&Tag { key: "env".into(), value: Some("dev".into()) }, "KR", 2);

        assert_eq!((wire.method, wire.target.as_str()), ("POST", "/api/v1/resources"));
        let body: Value = serde_json::from_str(&wire.body.unwrap().1).unwrap();
        let want = json!({"regionCode": "KR", "tag": [{"tagKey": "env", "tagValue": "dev"}], "page": 2, "size": 100});
        assert_eq!(body, want);
    }

    #[test]
    fn a_resource_is_a_server_only_by_number_and_name() {
        let servers = [view("1001", "web-1"), view("1002", "web-2")];
        let known = servers.iter().map(|server| (server.no.as_str(), server)).collect();
        let body = br#"{"page": 0, "size": 100, "itemCount": 4, "hasMore": true, "items": [
            {"resourceId": "1001", "resourceName": "web-1"}, {"resourceId": "1002", "resourceName": "a disk"},
            {"resourceId": 1002}, {"resourceId": "9", "resourceName": "web-1"}]}"#;

        let Said::Success(page) = read(body) else { panic!("not read") };

        let found: Vec<String> =
            page.items.iter().filter_map(|item| item.server_among(&known)).map(|no| no.to_string()).collect();
        assert_eq!((found, page.has_more), (vec!["1001".to_owned()], true));
    }

    #[test]
    fn a_page_that_does_not_say_whether_it_is_the_last_one_is_the_last_unless_it_is_full() {
        let has_more = |rows: u32, said: Value| {
            let items = vec![json!({"resourceId": "1001"}); usize::try_from(rows).unwrap()];
            let mut page = json!({ "items": items });
            if !said.is_null() {
                page["hasMore"] = said;
            }
            match read(page.to_string().as_bytes()) {
                Said::Success(page) => page.has_more,
                Said::Error { text, .. } => panic!("not read: {text}"),
            }
        };

        assert!(has_more(PAGE_SIZE, Value::Null) && has_more(1, true.into()));
        assert!(!has_more(PAGE_SIZE - 1, Value::Null) && !has_more(PAGE_SIZE, false.into()));
    }

    #[test]
    fn errors_and_foreign_answers_are_no_list() {
        let refused = read(br#"{"error": {"errorCode": "210", "message": "Permission Denied"}}"#);
        assert!(matches!(refused, Said::Error { code, .. } if code == "210"));
        assert!(matches!(read(b"<html></html>"), Said::Error { .. }));
        assert!(matches!(read(b"{}"), Said::Error { .. }));
    }
}
