//! Requests as they stand on the wire: one URL, or a form where the URL would be too long.

use std::net::IpAddr;

use crate::domain::name::{Action, ServerNo};

/// The longest URL that is sent; longer ones become a form.
pub(super) const URL_BYTES_MAX: usize = 2000;

/// An operation of the API that this program uses. There are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Start,
    Stop,
    List,
    Regions,
}

impl Operation {
    pub(super) fn of(action: Action) -> Self {
        match action {
            Action::Start => Self::Start,
            Action::Stop => Self::Stop,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "startServerInstances",
            Self::Stop => "stopServerInstances",
            Self::List => "getServerInstanceList",
            Self::Regions => "getRegionList",
        }
    }
}

/// Whether a text can stand in a query as it is.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Parameters in order. Names and values are letters, digits, `.`, `:` and `-`, so they need no encoding.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of_region(region: &str) -> Self {
        Self(vec![("regionCode".into(), region.into())])
    }

    pub(super) fn servers(mut self, servers: &[ServerNo]) -> Self {
        for (index, no) in servers.iter().enumerate() {
            self.0.push((format!("serverInstanceNoList.{}", index + 1), no.to_string()));
        }
        self
    }

    /// Only servers of a VPC. The text must be letters, digits and `-`: [`is_plain`].
    pub(super) fn vpc(mut self, vpc: &str) -> Self {
        self.0.push(("vpcNo".into(), vpc.into()));
        self
    }

    /// Only servers with an address.
    pub(super) fn address(mut self, address: IpAddr) -> Self {
        self.0.push(("ip".into(), address.to_string()));
        self
    }

    pub(super) fn page(mut self, page: u32, size: u32) -> Self {
        self.0.push(("pageNo".into(), page.to_string()));
        self.0.push(("pageSize".into(), size.to_string()));
        self
    }

    fn encoded(&self) -> String {
        let json = ("responseFormatType".to_owned(), "json".to_owned());
        let all = self.0.iter().chain(std::iter::once(&json));
        all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

/// A request, ready to be signed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) method: &'static str,
    /// Path and query: what is signed, and what is sent.
    pub(super) target: String,
    /// The body and its type, for POST.
    pub(super) body: Option<(&'static str, String)>,
}

/// The type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

pub(super) fn wire(base: &str, operation: Operation, parameters: &Parameters) -> Wire {
    let path = format!("/vserver/v2/{}", operation.name());
    let parameters = parameters.encoded();
    if base.len() + path.len() + 1 + parameters.len() > URL_BYTES_MAX {
        return Wire { method: "POST", target: path, body: Some((FORM, parameters)) };
    }
    Wire { method: "GET", target: format!("{path}?{parameters}"), body: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> Vec<ServerNo> {
        (0..count).map(|n| ServerNo::parse(&(100_000_000 + n).to_string()).unwrap()).collect()
    }

    #[test]
    fn the_url_is_the_one_of_the_guide() {
        let servers = [ServerNo::parse("1001").unwrap(), ServerNo::parse("1002").unwrap()];

        let wire = wire("https://h", Operation::Start, &Parameters::of_region("KR").servers(&servers));

        assert_eq!(wire.method, "GET");
        assert_eq!(
            wire.target,
            "/vserver/v2/startServerInstances?regionCode=KR&serverInstanceNoList.1=1001&serverInstanceNoList.2=1002&responseFormatType=json"
        );
    }

    #[test]
    fn a_list_may_be_asked_for_by_vpc_address_and_page() {
        let parameters =
            Parameters::of_region("KR").vpc("75").address("10.0.0.5".parse().unwrap()).page(2, 100);

        let wire = wire("https://h", Operation::List, &parameters);

        let query = "regionCode=KR&vpcNo=75&ip=10.0.0.5&pageNo=2&pageSize=100";
        assert!(wire.target.contains(query), "{}", wire.target);
    }

    #[test]
    fn only_letters_digits_and_hyphens_stand_in_a_query_as_they_are() {
        assert!(is_plain("vpc-1A"));
        for odd in ["", "a b", "a&pageNo=2", "서울", "a=b", "a%41"] {
            assert!(!is_plain(odd), "{odd}");
        }
    }

    #[test]
    fn the_longest_url_is_still_a_url() {
        let parameters = Parameters::of_region("KR").servers(&numbers(3));
        let rest = wire("", Operation::Start, &parameters).target.len();

        let fits = wire(&"h".repeat(URL_BYTES_MAX - rest), Operation::Start, &parameters);
        let passes = wire(&"h".repeat(URL_BYTES_MAX - rest + 1), Operation::Start, &parameters);

        assert_eq!((fits.method, passes.method), ("GET", "POST"));
    }

    #[test]
    fn where_the_url_would_pass_2_kb_a_form_is_posted() {
        let base = "https://ncloud.apigw.ntruss.com";
        let short = wire(base, Operation::Start, &Parameters::of_region("KR").servers(&numbers(40)));
        let long = wire(base, Operation::Start, &Parameters::of_region("KR").servers(&numbers(80)));

        assert_eq!(short.method, "GET");
        assert!(base.len() + short.target.len() <= URL_BYTES_MAX);
        assert_eq!((long.method, long.target.as_str()), ("POST", "/vserver/v2/startServerInstances"));
        let (_, form) = long.body.unwrap();
        assert!(
            form.contains("serverInstanceNoList.80=100000079") && form.ends_with("responseFormatType=json")
        );
    }
}
