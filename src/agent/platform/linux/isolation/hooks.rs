//! The hooks behind packet sockets, one for each interface, made over netlink: names of interfaces are bytes, and `nft` takes
//! text. The chains that they lead to are there already.

use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::net::SendFlags;
use rustix::net::netlink::NETFILTER;

use super::TABLE;
use super::kernel::{BATCH_BEGIN, BATCH_END, NETDEV, SUBSYSTEM, body, until_acknowledged};
use super::links::Interface;
use crate::agent::platform::linux::netlink::{ACK, REQUEST, attribute, message, open, text};

const NEWCHAIN: u16 = SUBSYSTEM * 256 + 3;
const NEWRULE: u16 = SUBSYSTEM * 256 + 6;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
/// `NF_NETDEV_EGRESS`.
const EGRESS: u32 = 1;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// `NFT_GOTO`.
const GOTO: i32 = -4;

/// Leads what leaves through an interface to the chain of its kind: all of it, or nothing is made.
///
/// # Errors
/// When the kernel refuses: `EOPNOTSUPP` when it has no such hook.
pub(super) fn hook(number: usize, interface: &Interface) -> io::Result<()> {
    let socket = open(Some(NETFILTER))?;
    let name = text(&format!("egress{number}"));
    let nested = |kind: u16, parts: &[Vec<u8>]| attribute(kind | NESTED, &parts.concat());
    let chain = [
        attribute(CHAIN_TABLE, &text(TABLE)),
        attribute(CHAIN_NAME, &name),
        nested(
            CHAIN_HOOK,
            &[
                attribute(HOOK_NUMBER, &EGRESS.to_be_bytes()),
                attribute(HOOK_PRIORITY, &0_i32.to_be_bytes()),
                attribute(HOOK_DEVICE, &[interface.name.as_bytes(), b"\0"].concat()),
            ],
        ),
        attribute(CHAIN_TYPE, &text("filter")),
    ];
    let verdict = [attribute(VERDICT_CODE, &GOTO.to_be_bytes()), attribute(VERDICT_CHAIN, &text(interface.kind.chain()))];
    let immediate =
        [attribute(IMMEDIATE_REGISTER, &0_u32.to_be_bytes()), nested(IMMEDIATE_DATA, &[nested(DATA_VERDICT, &verdict)])];
    let expression = [attribute(EXPRESSION_NAME, &text("immediate")), nested(EXPRESSION_DATA, &immediate)];
    let rule = [
        attribute(RULE_TABLE, &text(TABLE)),
        attribute(RULE_CHAIN, &name),
        nested(RULE_EXPRESSIONS, &[nested(LIST_ELEMENT, &expression)]),
    ];
    let batch = [
        message(BATCH_BEGIN, REQUEST, &body(0, SUBSYSTEM, &[])),
        message(NEWCHAIN, REQUEST | CREATE, &body(NETDEV, 0, &chain.concat())),
        message(NEWRULE, REQUEST | CREATE | APPEND | ACK, &body(NETDEV, 0, &rule.concat())),
        message(BATCH_END, REQUEST, &body(0, SUBSYSTEM, &[])),
    ];
    rustix::net::send(&socket, &batch.concat(), SendFlags::empty())?;
    until_acknowledged(&socket)
}
