//! Answers as the cloud writes them: JSON on request, XML otherwise.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde_json::{Map, Value, json};

use super::model::{Server, status_name};

/// The format that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn success(operation: &str, request_id: &str, mut data: Map<String, Value>) -> Self {
        for (field, text) in [("requestId", request_id), ("returnCode", "0"), ("returnMessage", "success")] {
            data.insert(field.into(), text.into());
        }
        let body = Map::from_iter([(format!("{operation}Response"), Value::Object(data))]);
        Self { status: 200, code: "0".into(), body: Value::Object(body) }
    }

    /// An answer of another service, as it is.
    pub(super) fn of_service(body: Value) -> Self {
        Self { status: 200, code: "0".into(), body }
    }

    pub(super) fn gateway(status: u16, code: &str, message: &str, details: &str) -> Self {
        let body = json!({"error": {"errorCode": code, "message": message, "details": details}});
        Self { status, code: code.into(), body }
    }

    pub(super) fn server_error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"responseError": {"returnCode": code, "returnMessage": message}});
        Self { status, code: code.into(), body }
    }

    pub(super) fn bytes(&self, format: Format) -> (Vec<u8>, &'static str) {
        match format {
            Format::Json => (self.body.to_string().into_bytes(), "application/json;charset=UTF-8"),
            Format::Xml => (xml(&self.body), "application/xml;charset=UTF-8"),
        }
    }
}

/// A server as lists show it, as it was at a moment.
pub(super) fn server(server: &Server, moment: i64) -> Value {
    let (status, operation) = server.as_of(moment);
    json!({
        "serverInstanceNo": server.no,
        "serverName": server.name,
        "serverDescription": "",
        "cpuCount": 4,
        "memorySize": 8_589_934_592_i64,
        "platformType": {"code": "UBD64", "codeName": "Ubuntu Desktop 64 Bit"},
        "loginKeyName": "sandbox",
        "publicIpInstanceNo": "",
        "publicIp": server.ip,
        "serverInstanceStatus": {"code": status, "codeName": format!("Server {status} state")},
        "serverInstanceOperation": {"code": operation, "codeName": format!("Server {operation} OP")},
        "serverInstanceStatusName": status_name(status, operation),
        "createDate": "2025-06-11T17:00:14+0900",
        "uptime": "2025-06-19T16:49:07+0900",
        "serverImageProductCode": "SW.VSVR.OS.LNX64.UBNTU.SVR24.G003",
        "serverProductCode": server.product,
        "isProtectServerTermination": false,
        "zoneCode": server.zone,
        "regionCode": server.zone.split('-').next().unwrap_or("KR"),
        "vpcNo": server.vpc,
        "subnetNo": server.subnet,
        "networkInterfaceNoList": ["30"],
        "initScriptNo": "",
        "serverInstanceType": {"code": server.kind, "codeName": format!("{} type", server.kind)},
        "baseBlockStorageDiskType": {"code": "NET", "codeName": "Network storage"},
        "baseBlockStorageDiskDetailType": {"code": "SSD", "codeName": "SSD"},
        "placementGroupNo": "",
        "placementGroupName": "",
        "memberServerImageInstanceNo": "",
        "hypervisorType": {"code": server.hypervisor, "codeName": server.hypervisor},
        "serverImageNo": "104630229",
        "serverSpecCode": server.spec,
        "eventList": [],
        "fabricClusterNo": "",
    })
}

fn xml(body: &Value) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let declared = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    let written = declared.and_then(|()| match body.as_object().and_then(|root| root.iter().next()) {
        Some((name, value)) => element(&mut writer, name, value),
        None => Ok(()),
    });
    // Writing into memory does not fail; an empty body would be seen by every test.
    if written.is_err() { Vec::new() } else { writer.into_inner() }
}

fn element(writer: &mut Writer<Vec<u8>>, name: &str, value: &Value) -> std::io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                element(writer, name, value)?;
            }
        }
        Value::Array(items) => {
            // Items are named like the list without `List`.
            let item = name.strip_suffix("List").unwrap_or("item");
            for value in items {
                element(writer, item, value)?;
            }
        }
        Value::String(text) => writer.write_event(Event::Text(BytesText::new(text)))?,
        Value::Null => {}
        other => writer.write_event(Event::Text(BytesText::new(&other.to_string())))?,
    }
    writer.write_event(Event::End(BytesEnd::new(name)))
}
