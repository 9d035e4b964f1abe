//! One tree for JSON and XML answers, so that one reader serves both.

use std::fmt;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep an XML answer may nest.
const DEPTH_MAX: usize = 64;

/// The body as a tree: JSON with only those fields below the root that are kept, see [`is_read`]; XML with texts as strings and `…List`
/// elements as lists. `None` for anything else.
pub(super) fn tree(body: &[u8], is_kept: fn(&str) -> bool) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(text);
        let tree = Node { is_root: true, is_kept }.deserialize(&mut json).ok()?;
        return json.end().is_ok().then_some(tree);
    }
    if text.starts_with('<') { xml(text) } else { None }
}

/// Whether a field below the root is looked at by any reader. The others are skipped while JSON is read: an answer about twenty servers has
/// six hundred of them. What readers look at must stand here: see [`super::read::text`].
pub(super) fn is_read(field: &str) -> bool {
    let tells_how_a_server_stands = matches!(
        field,
        "serverName"
            | "serverInstanceStatus"
            | "serverInstanceOperation"
            | "serverInstanceType"
            | "hypervisorType"
            | "vpcNo"
            | "subnetNo"
            | "zoneCode"
            | "serverSpecCode"
            | "serverProductCode"
            | "uptime"
    );
    is_read_of_request(field) || tells_how_a_server_stands
}

/// Whether it is looked at in the answer to a start or stop: of a server only its number.
pub(super) fn is_read_of_request(field: &str) -> bool {
    matches!(
        field,
        "errorCode"
            | "message"
            | "details"
            | "requestId"
            | "returnCode"
            | "returnMessage"
            | "responseCode"
            | "responseMessage"
            | "totalRows"
            | "serverInstanceList"
            | "serverInstanceNo"
            | "code"
            | "resourceId"
            | "resourceName"
    )
}

/// A value that is being read from JSON: the root, of which all fields are kept, or one below it.
#[derive(Clone, Copy)]
struct Node {
    is_root: bool,
    is_kept: fn(&str) -> bool,
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(field) = fields.next_key_seed(Field(self))? {
            match field {
                Some(field) => {
                    all.insert(field, fields.next_value_seed(Self { is_root: false, ..self })?);
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(all))
    }
}

/// The name of a field of an object; `None` if it is to be skipped.
struct Field(Node);

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Field {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0.is_root || (self.0.is_kept)(name)).then(|| name.to_owned()))
    }
}

/// An element that is being read.
#[derive(Default)]
struct Open {
    name: String,
    text: String,
    children: Vec<(String, Value)>,
}

impl Open {
    fn value(self) -> Value {
        if self.name.ends_with("List") {
            return Value::Array(self.children.into_iter().map(|(_, value)| value).collect());
        }
        if self.children.is_empty() {
            return Value::String(self.text.trim().to_owned());
        }
        Value::Object(self.children.into_iter().collect::<Map<_, _>>())
    }
}

fn xml(text: &str) -> Option<Value> {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![Open::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if stack.len() < DEPTH_MAX => {
                let name = start.local_name().as_ref().to_owned();
                stack.push(Open { name, ..Open::default() });
            }
            Event::Empty(empty) => {
                let name = empty.local_name().as_ref().to_owned();
                let open = Open { name: name.clone(), ..Open::default() };
                stack.last_mut()?.children.push((name, open.value()));
            }
            Event::End(_) => {
                let open = stack.pop()?;
                stack.last_mut()?.children.push((open.name.clone(), open.value()));
            }
            Event::Text(part) => stack.last_mut()?.text.push_str(&part.xml10_content()),
            Event::CData(part) => stack.last_mut()?.text.push_str(&part.xml10_content()),
            Event::GeneralRef(entity) => stack.last_mut()?.text.push(entity_char(&entity)?),
            Event::Eof => break,
            // A document type has no place in an answer, and may hold entities that grow without end.
            Event::DocType(_) | Event::Start(_) => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    let root = stack.pop()?;
    let only_root = stack.is_empty() && root.children.len() == 1;
    only_root.then(|| Value::Object(root.children.into_iter().collect()))
}

fn entity_char(entity: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return Some(character);
    }
    match &**entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_xml_become_the_same_tree() {
        let json = br#"{"error": {"errorCode": "210", "message": "a < b & c > 'd' \"e\" f"}}"#;
        let xml = b"<?xml version=\"1.0\"?><error><errorCode>210</errorCode>\
            <message>a &lt; b &amp; c &gt; &apos;d&apos; &quot;e&quot; &#102;</message></error>";

        assert_eq!(tree(json, is_read), tree(xml, is_read));
        assert!(tree(json, is_read).is_some());
    }

    #[test]
    fn what_nobody_reads_is_skipped_below_the_root_and_must_be_json_all_the_same() {
        let json = br#"{"x": {"code": 1, "codeName": {"code": 2}, "totalRows": [true, null, -1, 0.5, {"code": "a", "b": 1}]}, "y": 2}"#;
        let odd = br#"{"x": {"codeName": {]}}"#;

        let want =
            serde_json::json!({"x": {"code": 1, "totalRows": [true, null, -1, 0.5, {"code": "a"}]}, "y": 2});
        assert_eq!(tree(json, is_read), Some(want));
        assert_eq!((tree(odd, is_read), tree(b"{} {}", is_read)), (None, None));
        let half = br#"{"x": {"serverDescription": "\ud83d", "code": 1}}"#;
        assert_eq!(
            tree(half, is_read),
            Some(serde_json::json!({"x": {"code": 1}})),
            "half a character that nobody reads"
        );
    }

    #[test]
    fn lists_of_xml_are_lists_even_when_empty() {
        let tree = tree(b"<r><serverInstanceList><serverInstance><no>1</no></serverInstance></serverInstanceList><tagList/></r>", is_read);

        let root = &tree.unwrap()["r"];
        assert_eq!(root["serverInstanceList"][0]["no"], "1");
        assert_eq!(root["tagList"], Value::Array(vec![]));
    }

    #[test]
    fn an_answer_may_nest_just_so_deep() {
        let nested = |depth: usize| format!("{}x{}", "<a>".repeat(depth), "</a>".repeat(depth));

        assert!(tree(nested(DEPTH_MAX - 1).as_bytes(), is_read).is_some());
        assert_eq!(tree(nested(DEPTH_MAX).as_bytes(), is_read), None);
    }

    #[test]
    fn what_is_neither_gives_nothing() {
        let deep = "<a>".repeat(200);
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aa\">]><x>&a;</x>";
        for body in
            ["", "null", "hello", "{", "<a>", "<a></b>", "<a/><b/>", "[1]", deep.as_str(), bomb, "\u{0}"]
        {
            assert_eq!(tree(body.as_bytes(), is_read), None, "{body:?}");
        }
        assert_eq!(tree(&[0xff, 0xfe, b'{'], is_read), None);
    }
}
