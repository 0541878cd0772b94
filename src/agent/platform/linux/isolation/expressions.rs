//! The words that rules are made of, as libnftables-json(5) writes them.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::agent::platform::isolation::Network;

pub(super) fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

pub(super) fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

/// So many bytes at a place behind the beginning of a header: `ll`, `nh` or `th`.
pub(super) fn bytes(base: &str, at: u32, count: u32) -> Value {
    json!({ "payload": { "base": base, "offset": at * 8, "len": count * 8 } })
}

#[expect(clippy::needless_pass_by_value, reason = "expressions are put together from their parts")]
pub(super) fn is(op: &str, left: Value, right: Value) -> Value {
    json!({ "match": { "op": op, "left": left, "right": right } })
}

pub(super) fn equals(left: Value, right: u32) -> Value {
    is("==", left, json!(right))
}

pub(super) fn one_of(left: Value, right: &[u32]) -> Value {
    is("==", left, json!({ "set": right }))
}

/// Only these bits of a number.
#[expect(clippy::needless_pass_by_value, reason = "expressions are put together from their parts")]
pub(super) fn masked(left: Value, mask: u32) -> Value {
    json!({ "&": [left, mask] })
}

/// Whether bytes are an address of these networks, none of which lies in another.
pub(super) fn within(left: Value, networks: &[Network]) -> Value {
    let element = |network: &Network| {
        let (first, last) = (number(network.address), number(network.last()));
        if network.is_one() { json!(first) } else { json!({ "range": [first, last] }) }
    };
    is("==", left, json!({ "set": networks.iter().map(element).collect::<Vec<_>>() }))
}

/// An address as the number that its bytes are.
pub(super) fn number(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{:#x}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:#x}", v6.to_bits()),
    }
}

pub(super) fn accept() -> Value {
    json!({ "accept": null })
}

pub(super) fn back() -> Value {
    json!({ "return": null })
}

pub(super) fn jump(chain: &str) -> Value {
    json!({ "jump": { "target": chain } })
}
