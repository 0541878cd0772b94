//! How the device was set up to be connected: what the registry tells of interfaces, routes, filters and names.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{doubts, none, on_disk};
use crate::agent::collect::{Gathered, Gatherer};
use crate::agent::path::lossy;
use crate::agent::platform::windows_root::hive::Data;
use crate::agent::platform::windows_root::registry::{Found, Registry};
use crate::agent::platform::windows_root::text::decode;

const TCPIP: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters";
const FIREWALL: &str = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";
const ETC: &str = r"Windows\System32\drivers\etc";
const MAX_HOSTS: u64 = 16 * 1024 * 1024;

/// The texts of a value: of a list each, of a text those between its blanks and commas.
fn texts(found: &Found, name: &str) -> Vec<String> {
    match found.data(name) {
        Some(Data::List(texts)) => texts,
        Some(Data::Text(text)) => text.split([' ', ',', ';']).filter(|text| !text.is_empty()).map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn adapters(registry: &Registry<'_>) -> Vec<Found> {
    let all = registry.machine(&format!(r"{TCPIP}\Interfaces"));
    all.iter().flat_map(|all| registry.below(all)).collect()
}

pub(super) fn interfaces(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let all = adapters(&registry);
    to.rows("interfaces", |rows| {
        for found in &all {
            let either = |fixed: &str, given: &str| match texts(found, fixed) {
                texts if texts.iter().any(|text| text != "0.0.0.0") => texts,
                _ => texts(found, given),
            };
            rows.row(&json!({
                "name": found.key.name, "dhcp": found.number("EnableDHCP").map(|number| number != 0),
                "addresses": either("IPAddress", "DhcpIPAddress"), "masks": either("SubnetMask", "DhcpSubnetMask"),
                "gateways": either("DefaultGateway", "DhcpDefaultGateway"), "domain": found.text("DhcpDomain"),
                "dhcp_server": found.text("DhcpServer"),
                "leased": found.number("LeaseObtainedTime").and_then(second), "changed": found.key.written,
            }))?;
        }
        Ok(())
    })?;
    doubts(to, &registry)?;
    none(!all.is_empty(), "interfaces in its registry")
}

fn second(seconds: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// Those that stay: `destination,mask,gateway,metric`.
pub(super) fn routes(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let fixed = registry.machine(&format!(r"{TCPIP}\PersistentRoutes"));
    let values = fixed.iter().flat_map(Found::values);
    let routes: Vec<Value> = values
        .map(|value| {
            let mut words = value.name.split(',');
            let [destination, mask, gateway, metric] = [(); 4].map(|()| words.next());
            json!({
                "destination": destination, "mask": mask, "gateway": gateway,
                "metric": metric.and_then(|metric| metric.parse::<u32>().ok()), "type": "persistent",
            })
        })
        .collect();
    to.rows("routes", |rows| Ok(routes.iter().try_for_each(|route| rows.row(route))?))?;
    doubts(to, &registry)?;
    none(!routes.is_empty(), "routes that stay; others only a running system has")
}

/// The firewall's profiles, and its rules as they stand: `v2.31|Action=Allow|Active=TRUE|Dir=In|…`.
pub(super) fn firewall(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let policy = registry.machine(FIREWALL);
    to.rows("firewall", |rows| {
        for profile in ["DomainProfile", "StandardProfile", "PublicProfile"] {
            let Some(found) = policy.as_ref().and_then(|policy| registry.down(policy, profile)) else { continue };
            let enabled = found.number("EnableFirewall").map(|number| number != 0);
            rows.row(&row("profile", profile, None, enabled, &found))?;
        }
        let rules = policy.as_ref().and_then(|policy| registry.down(policy, "FirewallRules"));
        if let Some(found) = &rules {
            for value in found.values() {
                let Ok(Data::Text(text)) = found.hive.data(&value) else { continue };
                let active = text.split('|').find_map(|word| word.strip_prefix("Active="));
                let active = active.map(|active| active.eq_ignore_ascii_case("TRUE"));
                rows.row(&row("rule", &value.name, Some(&text), active, found))?;
            }
        }
        Ok(())
    })?;
    doubts(to, &registry)?;
    none(policy.is_some(), "set-up of a firewall in its registry")
}

fn row(kind: &str, name: &str, text: Option<&str>, enabled: Option<bool>, found: &Found) -> Value {
    let field = |name: &str| text?.split('|').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    json!({
        "type": kind, "name": name, "title": field("Name"), "enabled": enabled, "action": field("Action"),
        "direction": field("Dir"), "program": field("App"), "service": field("Svc"), "protocol": field("Protocol"),
        "local_port": field("LPort"), "remote_port": field("RPort"), "local_ip": field("LA4"), "remote_ip": field("RA4"),
        "changed": found.key.written, "rule": text,
    })
}

/// Who answers for names, and what stands fixed.
pub(super) fn dns(to: &mut Gatherer) -> Gathered {
    let agent = Arc::clone(&to.agent);
    let registry = Registry::new(&agent.root);
    let hosts = on_disk(&agent.root, &format!(r"{ETC}\hosts"));
    let text = agent.root.read(&hosts, MAX_HOSTS).unwrap_or_default();
    let text = decode(&text);
    let servers: Vec<Found> = registry.machine(TCPIP).into_iter().chain(adapters(&registry)).collect();
    to.rows("dns", |rows| {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let Some(first) = words.next() else { continue };
            let rest: Vec<&str> = words.collect();
            let file = lossy(&hosts);
            rows.row(&json!({ "type": "host", "name": first, "values": rest, "file": file, "line": number + 1 }))?;
        }
        for found in &servers {
            for name in ["NameServer", "DhcpNameServer", "SearchList", "Domain", "DhcpDomain"] {
                let values = texts(found, name);
                if !values.is_empty() {
                    rows.row(&json!({ "type": "setting", "name": name, "values": values, "file": found.path, "line": null }))?;
                }
            }
        }
        Ok(())
    })?;
    for file in ["hosts", "lmhosts", "networks"] {
        to.raw(&on_disk(&agent.root, &format!(r"{ETC}\{file}")))?;
    }
    doubts(to, &registry)?;
    none(!text.is_empty() || !servers.is_empty(), "set-up of names")
}
