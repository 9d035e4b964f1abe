//! The services beside the server API: the Resource Manager with its tags, and the metadata service with a role's keys.

use serde_json::{Value, json};

use super::auth::Account;
use super::model::{Model, Server};

/// Where the Resource Manager lists resources.
pub(super) const RESOURCES_PATH: &str = "/api/v1/resources";
/// What that is called in faults and in the log.
pub(super) const RESOURCES: &str = "resources";
/// Where the metadata service keeps a role's keys.
pub(super) const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
/// The role of the machine that asks.
const ROLE: &str = "sandbox-role";

/// The resources of an account with all tags that a body asks for: pages from 0, of 1 to 100, 20 if it does not say.
///
/// Beside servers there are their disks, with the same tags and other numbers, as a real account would have.
pub(super) fn resources(model: &Model, account: &str, body: &[u8]) -> Value {
    let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    let number = |field: &str, default: u64| wanted.get(field).and_then(Value::as_u64).unwrap_or(default);
    let tags: Vec<(String, Option<String>)> = wanted
        .get("tag")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|tag| Some((text(tag, "tagKey")?, text(tag, "tagValue"))))
        .collect();
    let carries = |server: &&Server| {
        let has = |(key, value): &(String, Option<String>)| {
            let found = server.tags.iter().find(|(known, _)| known == key);
            found.is_some_and(|(_, known)| value.as_ref().is_none_or(|value| value == known))
        };
        tags.iter().all(has)
    };
    let all: Vec<Value> = model.of_account(account).filter(carries).flat_map(of_server).collect();
    let (page, size) = (number("page", 0), number("size", 20).clamp(1, 100));
    let begin = usize::try_from(page.saturating_mul(size)).unwrap_or(usize::MAX);
    let count = usize::try_from(size).unwrap_or(usize::MAX);
    let items: Vec<&Value> = all.iter().skip(begin).take(count).collect();
    let has_more = begin.saturating_add(items.len()) < all.len();
    json!({"page": page, "size": size, "itemCount": items.len(), "hasMore": has_more, "items": items})
}

fn of_server(server: &Server) -> [Value; 2] {
    let region = server.zone.split('-').next().unwrap_or("KR");
    let item = |product: &str, kind: &str, id: &str, name: &str| {
        json!({
            "nrn": format!("nrn:PUB:{product}:{region}:1:{kind}/{id}"),
            "productName": product, "regionCode": region, "resourceType": kind, "resourceId": id, "resourceName": name,
        })
    };
    let disk = format!("9{}", server.no);
    [
        item("VPCServer", "Server", &server.no, &server.name),
        item("VPCServer", "BlockStorage", &disk, &format!("{}-disk", server.name)),
    ]
}

/// What the metadata service says about a path: the role's name, or its keys as JSON. `ends` is RFC 3339.
pub(super) fn role(path: &str, account: Option<&Account>, ends: &str) -> Option<String> {
    match (path.strip_prefix(ROLE_PATH)?, account?) {
        ("", _) => Some(ROLE.to_owned()),
        (ROLE, account) => {
            let keys = json!({"Code": "Success", "AccessKeyId": account.access_key,
                "SecretAccessKey": account.secret_key, "Expiration": ends});
            Some(keys.to_string())
        }
        _ => None,
    }
}
