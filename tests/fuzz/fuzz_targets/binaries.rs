//! Any bytes are a kernel module and a line of /proc, or not.
#![no_main]

use lrsh::agent::platform::{Protocol, capabilities, connections, modules};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = modules::module_info(bytes);
    let _ = modules::parse_line(bytes);
    let _ = capabilities::capabilities(bytes);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let _ = connections::parse_line(bytes, protocol);
    }
});
