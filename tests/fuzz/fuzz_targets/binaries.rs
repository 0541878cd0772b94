//! Any bytes are a kernel module, a line of /proc, a record of a login, what a manager answers, or not.
#![no_main]

use lrsh::agent::filetype::{executable_type, has_packer_mark, mime_type};
use lrsh::agent::platform::{Protocol, capabilities, connections, login_record, modules, services};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = modules::module_info(bytes);
    let _ = modules::parse_line(bytes);
    let _ = capabilities::capabilities(bytes);
    let _ = login_record(bytes, std::path::Path::new("/var/log/btmp"));
    let _ = services::parse_units(bytes);
    let _ = (executable_type(bytes), has_packer_mark(bytes), mime_type(bytes));
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let _ = connections::parse_line(bytes, protocol);
    }
});
