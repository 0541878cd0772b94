//! What the lists of a package look like: their fields never change their names, their order, or their times' form. Tools of others
//! read them. A field with `?` is there only where there is something to say.

use serde_json::Value;

use super::Unpacked;

/// Of a Linux device.
pub const LINUX: &str = "
processes/processes: name pid parent_id user_name status creation_time memory_k cpu_cycles_k session_id memory_usage cpu_time_ms image_path command_line image_deleted threads image_path_uri?
connections/connections: name pid status_display local_ip local_port remote_ip remote_port protocol user_name image_path netns interface pids image_path_uri?
listening/listening: name pid status_display local_ip local_port remote_ip remote_port protocol user_name image_path netns interface pids image_path_uri?
arp/arp: ip mac interface state
routes/routes: destination gateway interface interface_index source metric table type
interfaces/interfaces: index name mac up loopback promiscuous mtu hardware_type addresses
firewall/firewall: type family table chain name rule
dns/dns: type name values file line
open_files/open_files: pid name user_name fd type path path_uri deleted
kernel_modules/kernel_modules: driver_name service_name service_state service_type driver_loaded path description size used_by taint signer hidden dependencies author license version vermagic start_type? reg_path? path_uri? error?
mounts/mounts: mount_point source type options super_options root device id parent_id
system/system: time name device_id platform server root boot_id kernel kernel_version kernel_command_line tainted uptime_seconds booted load memory_bytes timezone os_release
users/users: user_name uid gid group groups full_name home shell password password_in_passwd password_changed expires
sudoers/sudoers: file line text
services/services: service_name display_name current_state start_type service_type service_start_name binary_path path args process_id dependencies unit_file enabled unit_modified active_state load_state alias_of instances triggered_by runlevels drop_ins sha256 reg_path? service_dll? unit_file_uri? error?
tasks/tasks: id is_enabled task schedule user command source next_run last_run kind environment modified source_uri? error?
startup/startup: filePath executablePath category user enabled command only_show_in modified sha256 path_uri? error?
persistence/persistence: category location runs modified shipped package technique user enabled made_by? path_uri? error? filePath? executablePath? reg_path? display_name? value_name? value_type? value? id? is_enabled? task?
shell_history/shell_history: time user_name command file line
logs/logins: time event failed user_name terminal host address pid source
logs/last_logins: time user_name terminal host
packages/packages: name version architecture status source maintainer section installed_kilobytes
packages/altered: path path_uri package state configuration shipped_md5 found_md5 size modified changed
recent_files/recent_files: path isDirectory size created modified isCompressed hidden readOnly mode owner group link_target inode path_uri? error?
";

/// Of a Windows disk: the lists that differ.
pub const WINDOWS: &str = "
routes/routes: destination mask gateway metric type
interfaces/interfaces: name dhcp addresses masks gateways domain dhcp_server leased changed
firewall/firewall: type name title enabled action direction program service protocol local_port remote_port local_ip remote_ip changed rule
mounts/mounts: mount_point source changed
mounts/usb_storage: device serial name modified reg_path
system/system: time name device_id platform server root os product build edition owner organization system_root installed stopped timezone minutes_west
users/users: user_name sid rid full_name comment home groups disabled locked password_required password_changed expires last_login last_failed_login failed_logins logins created
registry/hives: path size modified state log_entries error taken why_not
logs/logs: path type size created modified taken
prefetch/prefetch: name path_hash first_run last_run size path
packages/packages: name version publisher installed folder uninstall source hidden user_name reg_path modified
";

/// The fields that hold a moment.
const TIMES: [&str; 17] = [
    "time",
    "creation_time",
    "created",
    "modified",
    "changed",
    "booted",
    "unit_modified",
    "next_run",
    "last_run",
    "first_run",
    "password_changed",
    "expires",
    "last_login",
    "last_failed_login",
    "stopped",
    "leased",
    "started",
];

/// Holds every list of a package to its fields, those of `first` before those of Linux; and every moment to RFC 3339 in UTC.
#[track_caller]
pub fn check(package: &Unpacked, first: &str) {
    for (name, list) in package.files.keys().filter_map(|name| Some((name, name.strip_suffix(".jsonl")?))) {
        let known = [first, LINUX].into_iter().flat_map(str::lines);
        let known = known.filter_map(|line| line.split_once(": ")).find(|(known, _)| *known == list);
        let fields: Vec<&str> = known.unwrap_or_else(|| panic!("{list} is not known")).1.split(' ').collect();
        for row in package.rows(name) {
            let own: Vec<&String> = row.as_object().unwrap().keys().collect();
            let is_there = |field: &&&str| !field.ends_with('?') || own.contains(&&field.trim_end_matches('?').to_owned());
            let wanted: Vec<&str> = fields.iter().filter(is_there).map(|field| field.trim_end_matches('?')).collect();
            assert_eq!(own, wanted, "{list}: {row}");
            for (field, value) in row.as_object().unwrap() {
                if TIMES.contains(&field.as_str()) {
                    moment(value, &format!("{list}: {field} of {row}"));
                }
            }
        }
    }
    let summary = package.summary();
    for moment in [&summary["started"], &summary["completed"]] {
        self::moment(moment, "summary.json");
    }
    for part in summary["parts"].as_array().unwrap() {
        moment(&part["started"], "summary.json");
        for file in part["files"].as_array().unwrap() {
            moment(&file["modified"], "summary.json");
        }
    }
}

#[track_caller]
fn moment(value: &Value, of: &str) {
    let Some(text) = value.as_str() else {
        assert!(value.is_null(), "{of}");
        return;
    };
    assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{text}: {of}");
}
