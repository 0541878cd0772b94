//! Any bytes are a unit's file, a command line, a desktop entry, an LSB header, a file of configuration.
#![no_main]

use lrsh::agent::platform::persistence::lines;
use lrsh::agent::platform::services::parse_header;
use lrsh::agent::platform::startup;
use lrsh::agent::platform::systemd::{command_line, parse_file};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let count = u32::try_from(bytes.split(|&byte| byte == b'\n').count()).unwrap_or(u32::MAX);
    let (assignments, _) = parse_file(bytes, &std::sync::Arc::default());
    for assignment in &assignments {
        assert!((1..=count).contains(&assignment.source.line));
        let _ = command_line(&assignment.value).map(|line| line.arguments_text());
    }
    let entry = startup::parse(bytes);
    let _ = (entry.starts(), entry.program(), entry.wrong());
    let text = String::from_utf8_lossy(bytes);
    let _ = parse_header(&text);
    for finder in [
        lines::every_line,
        lines::preload_variables,
        lines::library_folders,
        lines::modprobe_commands,
        lines::authorized_keys,
        lines::sshd_directives,
        lines::ssh_commands,
        lines::pam_commands,
        lines::udev_commands,
        lines::apt_hooks,
        lines::dpkg_hooks,
        lines::interface_commands,
        lines::sudo_grants,
        lines::logrotate_scripts,
        lines::python_lines,
        lines::git_commands,
        lines::rsyslog_programs,
        lines::inetd_servers,
        lines::bus_program,
        lines::binfmt_interpreters,
        lines::inittab_commands,
        lines::actions,
        lines::php_settings,
        lines::accounts,
        lines::passwordless,
        lines::name_services,
        lines::sudo_plugins,
        lines::kernel_programs,
        lines::written_at_boot,
        lines::boot_parameters,
        lines::shell_commands,
        lines::mail_pipes,
        lines::procmail_pipes,
        lines::display_scripts,
        lines::module_aliases,
        lines::server_commands,
        lines::container_restarts,
        lines::mounts_over,
        lines::key_macros,
        lines::programs_elsewhere,
        lines::converter_modules,
        lines::powerful_groups,
        lines::named_programs,
        lines::editor_commands,
    ] {
        for (line, _) in finder(&text) {
            assert!((1..=count).contains(&line));
        }
    }
    for (line, _) in lines::naming(&text, &["command", "*exec", "root preexec"]) {
        assert!((1..=count).contains(&line));
    }
    for includes in [
        lines::key_files,
        lines::ssh_includes,
        lines::pam_includes,
        lines::sudo_includes,
        lines::git_includes,
        lines::apt_includes,
        lines::plain_includes,
        lines::rsyslog_includes,
    ] {
        let _ = includes(&text);
    }
});
