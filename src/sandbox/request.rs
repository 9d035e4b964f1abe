//! A request's parameters, from the query and the form.

use std::collections::BTreeMap;

use super::model::Server;

/// Decoded parameters. Later ones win, as a form does over the query.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn read(query: &str, form: &str) -> Self {
        let pairs = query.split('&').chain(form.split('&')).filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `name.1`, `name.2`, … in the order of their numbers.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let numbered = |key: &str| key.strip_prefix(name)?.strip_prefix('.')?.parse::<u32>().ok();
        let mut found: Vec<(u32, String)> =
            self.0.iter().filter_map(|(key, value)| Some((numbered(key)?, value.clone()))).collect();
        found.sort();
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// Whether the filters of `getServerInstanceList` beside that for numbers let a server through. There is none for zones or tags.
    pub(super) fn filter(&self) -> impl Fn(&Server) -> bool {
        let hypervisors = self.list("hypervisorTypeCodeList");
        move |server| {
            let same = |name: &str, field: &str| self.get(name).is_none_or(|wanted| wanted == field);
            let region = server.zone.split('-').next().unwrap_or("KR");
            same("regionCode", region)
                && same("vpcNo", &server.vpc)
                && same("serverInstanceStatusCode", &server.status)
                && same("ip", &server.ip)
                && (hypervisors.is_empty() || hypervisors.contains(&server.hypervisor))
                && self.get("serverName").is_none_or(|part| server.name.contains(part))
        }
    }

    /// Page number from 1 and page size, where both are asked for.
    pub(super) fn page(&self) -> Option<(usize, usize)> {
        let number = |name| self.get(name).and_then(|text| text.parse::<usize>().ok());
        Some((number("pageNo")?.max(1), number("pageSize")?.clamp(1, 1000)))
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16)).unwrap_or(0);
                bytes.push(u8::try_from(digit() * 16 + digit()).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_read_together_and_lists_keep_their_order() {
        let numbers: String = (1..=12).map(|n| format!("&serverInstanceNoList.{n}={}", 1000 + n)).collect();

        let parameters = Parameters::read("regionCode=KR&serverName=a+b%2F%ED%95%9C%26c", &numbers);

        assert_eq!(parameters.get("serverName"), Some("a b/한&c"));
        let list = parameters.list("serverInstanceNoList");
        assert_eq!((list.len(), list[1].as_str(), list[11].as_str()), (12, "1002", "1012"));
    }
}
