//! The addresses of this machine's interfaces.

use std::net::IpAddr;

use crate::ports::host::Host;

/// The machine as its kernel tells of it.
pub struct Machine;

impl Host for Machine {
    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let interfaces = if_addrs::get_if_addrs()
            .map_err(|error| format!("the addresses of this machine cannot be read: {error}"))?;
        let mut found: Vec<IpAddr> =
            interfaces.iter().map(|interface| interface.ip()).filter(|ip| is_of_the_machine(*ip)).collect();
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Neither loopback nor of one link alone: what another machine could reach it by.
fn is_of_the_machine(ip: IpAddr) -> bool {
    let one_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !one_link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_link_local_addresses_are_left_out() {
        let table = [
            ("127.0.0.1", false),
            ("169.254.3.4", false),
            ("10.0.0.5", true),
            ("::1", false),
            ("fe80::1", false),
        ];

        for (ip, want) in table {
            assert_eq!(is_of_the_machine(ip.parse().unwrap()), want, "{ip}");
        }
        assert!(Machine.addresses().unwrap().iter().all(|ip| is_of_the_machine(*ip)));
    }
}
