//! Services and drivers, as the hive SYSTEM describes them: one key each below `Services`.

use super::places;
use super::registry::{Found, Place, Registry};
use crate::agent::context::{Stop, VerbError};
use crate::agent::path::lossy;
use crate::agent::platform::{Driver, ModuleInfo, Root, Service, StartType, Told, drive};

/// Where they are described.
pub const SERVICES: &str = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services";
/// The bits of `Type` that make a service, and those that make a driver (winnt.h, `SERVICE_WIN32` and `SERVICE_DRIVER`).
const SERVICE: u64 = 0x30;
const DRIVER: u64 = 0x0b;
const INTERACTIVE: u64 = 0x100;

/// All services.
///
/// # Errors
/// When the hive cannot be read, or the command was asked to stop.
pub fn services(registry: &Registry<'_>, stop: &Stop) -> Result<Told<Service>, VerbError> {
    let mut all = Vec::new();
    for (found, kind) in described(registry)? {
        stop.check()?;
        if kind & SERVICE != 0 {
            all.push(service(registry, &found, kind));
        }
    }
    Ok(Told { all, doubts: registry.doubts() })
}

/// All drivers.
///
/// # Errors
/// As [`services`].
pub fn drivers(registry: &Registry<'_>, stop: &Stop) -> Result<Told<Driver>, VerbError> {
    let mut all = Vec::new();
    for (found, kind) in described(registry)? {
        stop.check()?;
        if kind & SERVICE == 0 && kind & DRIVER != 0 {
            all.push(driver(registry, &found, kind));
        }
    }
    Ok(Told { all, doubts: registry.doubts() })
}

/// The keys that say what type they are; others hold data of programs.
fn described(registry: &Registry<'_>) -> Result<Vec<(Found, u64)>, VerbError> {
    let Place::Key(services) = registry.find(SERVICES)? else { return Ok(Vec::new()) };
    let all = services.keys()?.into_iter().map(|key| services.with(key));
    Ok(all.filter_map(|found| found.number("Type").map(|kind| (found, kind))).collect())
}

fn service(registry: &Registry<'_>, found: &Found, kind: u64) -> Service {
    let command = found.text("ImagePath");
    let split = command.as_deref().map(|command| places::split(registry.root(), command));
    let program = split.as_ref().map(|(program, _)| places::path(registry.root(), program));
    // What svchost loads for it stands in a key below it, of older ones in its own.
    let parameters = registry.down(found, "Parameters");
    let dll = parameters.and_then(|parameters| parameters.text("ServiceDll")).or_else(|| found.text("ServiceDll"));
    let dll = dll.map(|dll| places::path(registry.root(), &dll));
    let start = match start(found) {
        StartType::Manual if registry.down(found, "TriggerInfo").is_some() => StartType::Triggered,
        start => start,
    };
    Service {
        name: found.key.name.clone(),
        description: found.text("DisplayName"),
        start,
        kind: kind_name(kind),
        user: found.text("ObjectName"),
        program: program.as_deref().map(lossy),
        arguments: split.and_then(|(_, arguments)| arguments),
        command,
        dependencies: [found.texts("DependOnService"), found.texts("DependOnGroup")].concat(),
        modified: Some(found.key.written),
        error: program.iter().chain(&dll).find_map(|file| missing(registry.root(), file)),
        reg_path: Some(found.path.clone()),
        service_dll: dll.as_deref().map(lossy),
        ..Service::default()
    }
}

fn driver(registry: &Registry<'_>, found: &Found, kind: u64) -> Driver {
    let name = &found.key.name;
    let image = found.text("ImagePath").unwrap_or_else(|| format!(r"System32\drivers\{name}.sys"));
    let path = places::path(registry.root(), &image);
    let facts = registry.root().facts(&path).ok();
    Driver {
        name: name.clone(),
        size: facts.map(|facts| facts.size),
        dependencies: found.texts("DependOnService"),
        info: ModuleInfo {
            description: found.text("Description").or_else(|| found.text("DisplayName")),
            ..ModuleInfo::default()
        },
        error: missing(registry.root(), &path),
        path: Some(path),
        kind: Some(kind_name(kind)),
        start: Some(start(found)),
        reg_path: Some(found.path.clone()),
        ..Driver::default()
    }
}

/// Says that a file is not on the disk.
fn missing(root: &Root, file: &std::path::Path) -> Option<String> {
    let gone = drive::split(file.as_os_str().as_encoded_bytes()).is_some() && root.facts(file).is_err();
    // Windows adds the ending itself.
    let with_ending = file.with_extension("exe");
    let gone = gone && (file.extension().is_some() || root.facts(&root.spelled(&with_ending)).is_err());
    gone.then(|| format!("{} is not there", lossy(file)))
}

fn start(found: &Found) -> StartType {
    match found.number("Start") {
        Some(0) => StartType::Boot,
        Some(1) => StartType::System,
        Some(2) => StartType::Auto,
        Some(4) => StartType::Disabled,
        _ => StartType::Manual,
    }
}

/// The type as `sc` names it, in small letters.
fn kind_name(kind: u64) -> String {
    let name = match kind & !INTERACTIVE {
        0x01 => "kernel_driver",
        0x02 => "file_system_driver",
        0x08 => "recognizer_driver",
        0x10 => "own_process",
        0x20 => "share_process",
        0x50 => "user_own_process",
        0x60 => "user_share_process",
        0xd0 => "user_own_process_instance",
        0xe0 => "user_share_process_instance",
        _ => return format!("{kind:#x}"),
    };
    let interactive = if kind & INTERACTIVE == 0 { "" } else { "_interactive" };
    format!("{name}{interactive}")
}
