//! A server of the sandbox's model as a read shows it.

use sunup::domain::name::ServerNo;
use sunup::domain::server::{Condition, Traits};
use sunup::ports::cloud::ServerView;
use sunup::sandbox::model::Server;

/// The server in this state, which a stale read may show although it has passed.
pub(crate) fn view(server: &Server, status: &str, operation: &str) -> ServerView {
    let traits = Traits {
        name: Some(server.name.clone()),
        vpc: server.vpc.clone(),
        subnet: server.subnet.clone(),
        zone: server.zone.clone(),
        spec: server.spec.clone(),
        hypervisor: server.hypervisor.clone(),
        ..Traits::default()
    };
    let condition = Condition::from_codes(status, operation);
    ServerView { no: ServerNo::parse(&server.no).unwrap(), traits, condition, booted: None }
}
