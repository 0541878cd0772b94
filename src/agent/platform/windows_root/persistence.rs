//! Everything that starts by itself: start-up folders, values of the registry, tasks and services; each with the technique of
//! MITRE ATT&CK. The places of the registry are a table. Of a disk nothing tells what was shipped: that stays open.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::hive::Value;
use super::keys::item;
use super::registry::{Found, Profile, Registry};
use super::services::{SERVICES, drivers, services};
use super::startup::{startup_items, switched_off};
use super::tasks::tasks;
use crate::agent::context::{Stop, VerbError, VerbResult};
use crate::agent::platform::startup_item::About;
use crate::agent::platform::{Persistent, StartType, Told};

/// The most entries of one place that are told; and once there are very many in all, of each place that is left.
const MAX_PLACE: usize = 20_000;
const MAX_ALL: usize = 200_000;
const MAX_LATE: usize = 200;
/// Where Task Manager keeps which `Run` entries it switched off.
const APPROVED: &str = r"Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run";

/// A place: a key (`*` any subkey), its values that count (none: all of them), the technique.
type Place = (&'static str, &'static [&'static str], &'static str);

/// Below `SOFTWARE` of the machine, its part for 32-bit programs, and of each user.
const SOFTWARE: &[Place] = &[
    (r"Microsoft\Windows\CurrentVersion\Run", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\RunOnce", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\RunOnceEx\*", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\RunOnce\Setup", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\RunServices", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\RunServicesOnce", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\Policies\Explorer\Run", &[], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\Policies\System", &["Shell"], "T1547.001"),
    (
        r"Microsoft\Windows NT\CurrentVersion\Terminal Server\Install\Software\Microsoft\Windows\CurrentVersion\Run",
        &[],
        "T1547.001",
    ),
    (r"Microsoft\Windows NT\CurrentVersion\Windows", &["Load", "Run"], "T1547.001"),
    (r"Microsoft\Windows NT\CurrentVersion\Windows", &["AppInit_DLLs"], "T1546.010"),
    (
        r"Microsoft\Windows NT\CurrentVersion\Winlogon",
        &["Shell", "Userinit", "Taskman", "AppSetup", "System", "UIHost", "GinaDLL", "VmApplet"],
        "T1547.004",
    ),
    (r"Microsoft\Windows NT\CurrentVersion\Winlogon\Notify\*", &["DllName"], "T1547.004"),
    (r"Microsoft\Windows NT\CurrentVersion\Winlogon\GPExtensions\*", &["DllName"], "T1547"),
    (r"Microsoft\Windows NT\CurrentVersion\Image File Execution Options\*", &["Debugger", "VerifierDlls"], "T1546.012"),
    (r"Microsoft\Windows NT\CurrentVersion\SilentProcessExit\*", &["MonitorProcess"], "T1546.012"),
    (r"Microsoft\Windows NT\CurrentVersion\AppCompatFlags\InstalledSDB\*", &["DatabasePath"], "T1546.011"),
    (r"Microsoft\Active Setup\Installed Components\*", &["StubPath"], "T1547.014"),
    (r"Microsoft\Windows\CurrentVersion\ShellServiceObjectDelayLoad", &[], "T1547"),
    (r"Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders", &["Startup", "Common Startup"], "T1547.001"),
    (r"Microsoft\Windows\CurrentVersion\Explorer\SharedTaskScheduler", &[], "T1547"),
    (r"Microsoft\Windows\CurrentVersion\Authentication\Credential Providers\*", &[""], "T1556"),
    (r"Microsoft\Command Processor", &["AutoRun"], "T1546"),
    (r"Microsoft\NetSh", &[], "T1546.007"),
    (r"Microsoft\Office test\Special\Perf", &[""], "T1137.002"),
    (r"Classes\exefile\shell\open\command", &[""], "T1546.001"),
    (r"Classes\txtfile\shell\open\command", &[""], "T1546.001"),
];

/// Below the control set that the device starts with.
const CONTROL: &[Place] = &[
    (r"Control\Session Manager", &["BootExecute", "SetupExecute", "Execute", "S0InitialCommand"], "T1547"),
    (r"Control\Session Manager\AppCertDLLs", &[], "T1546.009"),
    (r"Control\Lsa", &["Authentication Packages"], "T1547.002"),
    (r"Control\Lsa", &["Security Packages"], "T1547.005"),
    (r"Control\Lsa\OSConfig", &["Security Packages"], "T1547.005"),
    (r"Control\Lsa", &["Notification Packages"], "T1556.002"),
    (r"Control\SecurityProviders", &["SecurityProviders"], "T1547.005"),
    (r"Control\NetworkProvider\Order", &["ProviderOrder"], "T1556.008"),
    (r"Control\Print\Monitors\*", &["Driver"], "T1547.010"),
    (r"Control\Print\Environments\*\Print Processors\*", &["Driver"], "T1547.012"),
    (r"Control\Terminal Server\Wds\rdpwd", &["StartupPrograms"], "T1547"),
    (r"Control\BootVerificationProgram", &["ImagePath"], "T1547"),
    (r"Control\SafeBoot", &["AlternateShell"], "T1547"),
    (r"Services\W32Time\TimeProviders\*", &["DllName"], "T1547.003"),
    (r"Services\*\NetworkProvider", &["ProviderPath"], "T1556.008"),
];

/// Below a user's hive, beside [`SOFTWARE`].
const OWN: &[Place] =
    &[("Environment", &["UserInitMprLogonScript"], "T1037.001"), (r"Control Panel\Desktop", &["SCRNSAVE.EXE"], "T1546.002")];

/// Below a user's classes: COM objects that go before those of the machine.
const CLASSES: &[Place] = &[
    (r"CLSID\*\InprocServer32", &[""], "T1546.015"),
    (r"CLSID\*\LocalServer32", &[""], "T1546.015"),
    (r"CLSID\*\TreatAs", &[""], "T1546.015"),
];

/// Everything that starts by itself, list by list.
///
/// # Errors
/// Only when told to stop: what cannot be read is an entry of the list that it belongs to.
pub fn persistent(registry: &Registry<'_>, stop: &Stop) -> Result<Told<Persistent>, VerbError> {
    let mut search = Search { registry, stop, found: Vec::new(), noted: 0, told: HashSet::new() };
    for hive in ["SOFTWARE", "SYSTEM"] {
        // Every Windows has them.
        if let Err(why) = registry.find(&format!(r"HKEY_LOCAL_MACHINE\{hive}")) {
            registry.note(&format!(r"HKEY_LOCAL_MACHINE\{hive}"), why);
        }
    }
    search.doubts("registry", "T1547");
    search.startup()?;
    search.all(r"HKEY_LOCAL_MACHINE\SOFTWARE", SOFTWARE, None)?;
    search.all(r"HKEY_LOCAL_MACHINE\SOFTWARE\Wow6432Node", SOFTWARE, None)?;
    search.all(r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet", CONTROL, None)?;
    for profile in registry.profiles() {
        let user = profile.sid.as_ref().unwrap_or(&profile.name);
        search.all(&format!(r"HKEY_USERS\{user}\Software"), SOFTWARE, Some(&profile))?;
        search.all(&format!(r"HKEY_USERS\{user}"), OWN, Some(&profile))?;
        search.all(&format!(r"HKEY_USERS\{user}_Classes"), CLASSES, Some(&profile))?;
    }
    search.tasks()?;
    search.services()?;
    Ok(Told { all: search.found, doubts: registry.doubts() })
}

struct Search<'a> {
    registry: &'a Registry<'a>,
    stop: &'a Stop,
    found: Vec<Persistent>,
    /// How many of the registry's notes were looked at, and which of them stand in which list.
    noted: usize,
    told: HashSet<(&'static str, String)>,
}

/// A place that is being looked at.
struct Looking<'a> {
    names: &'a [&'a str],
    technique: &'static str,
    profile: Option<&'a Profile>,
    /// How many more entries it may have, and how many values are left out.
    room: usize,
    left_out: usize,
}

impl Search<'_> {
    /// Makes entries of what could not be read since the last time.
    fn doubts(&mut self, category: &'static str, technique: &'static str) {
        let noted = self.registry.noted_since(self.noted);
        self.noted += noted.len();
        for doubt in noted {
            if self.told.insert((category, doubt.problem.message.clone())) {
                self.found.push(Persistent {
                    category,
                    place: Some(doubt.place),
                    technique,
                    error: Some(doubt.problem.message),
                    ..Persistent::default()
                });
            }
        }
    }

    fn startup(&mut self) -> VerbResult {
        for item in startup_items(self.registry, self.stop)?.all {
            self.found.push(Persistent {
                category: "startup_folders",
                file: item.file.clone(),
                runs: item.command.clone().or_else(|| item.program.clone()),
                modified: item.modified,
                technique: "T1547.001",
                user: item.user.clone(),
                enabled: Some(item.enabled),
                error: item.error.clone(),
                about: About::Startup(Box::new(item)),
                ..Persistent::default()
            });
        }
        self.doubts("startup_folders", "T1547.001");
        Ok(())
    }

    /// The values at every place of a table.
    fn all(&mut self, below: &str, places: &[Place], profile: Option<&Profile>) -> VerbResult {
        let top = self.registry.key(below);
        self.doubts("registry", "T1547");
        let Ok(Some(top)) = top else { return Ok(()) };
        for &(path, names, technique) in places {
            let room = if self.found.len() < MAX_ALL { MAX_PLACE } else { MAX_LATE };
            let mut looking = Looking { names, technique, profile, room, left_out: 0 };
            let path: Vec<&str> = path.split('\\').collect();
            self.below(&top, &path, &mut looking)?;
            if looking.left_out > 0 {
                let error = format!("only the first {room} values are told: {} more are left out", looking.left_out);
                self.found.push(Persistent {
                    category: "registry",
                    place: Some(format!(r"{}\{}", top.path, path.join(r"\"))),
                    technique,
                    user: profile.map(|profile| profile.name.clone()),
                    error: Some(error),
                    ..Persistent::default()
                });
            }
            self.doubts("registry", technique);
        }
        Ok(())
    }

    /// The values of the keys that a path with stars means below a key.
    fn below(&mut self, top: &Found, path: &[&str], looking: &mut Looking<'_>) -> VerbResult {
        self.stop.check()?;
        match path.split_first() {
            None => self.values(top, looking),
            Some((&"*", rest)) => {
                // One at a time: there may be very many.
                let keys = top.keys().unwrap_or_else(|why| {
                    top.doubt(why);
                    Vec::new()
                });
                keys.into_iter().try_for_each(|key| self.below(&top.with(key), rest, looking))
            }
            Some((name, rest)) => match self.registry.down(top, name) {
                Some(found) => self.below(&found, rest, looking),
                None => Ok(()),
            },
        }
    }

    fn values(&mut self, found: &Found, looking: &mut Looking<'_>) -> VerbResult {
        let is_run = found.path.to_lowercase().ends_with(r"\currentversion\run");
        let off = is_run.then(|| switched_off(self.registry, APPROVED, looking.profile));
        for value in found.values() {
            self.stop.check()?;
            if !looking.names.is_empty() && !looking.names.iter().any(|name| name.eq_ignore_ascii_case(&value.name)) {
                continue;
            }
            if looking.room == 0 {
                looking.left_out += 1;
            } else if let Some(entry) = entry(found, &value, off.as_ref(), looking) {
                looking.room -= 1;
                self.found.push(entry);
            }
        }
        Ok(())
    }

    fn tasks(&mut self) -> VerbResult {
        for task in tasks(self.registry, self.stop)?.all {
            self.found.push(Persistent {
                category: "schedule_tasks",
                place: task.file.is_none().then(|| task.id.clone()),
                file: task.file.clone().unwrap_or_default(),
                runs: task.command.clone(),
                modified: task.modified,
                technique: "T1053.005",
                user: task.user.clone(),
                enabled: Some(task.enabled),
                error: task.error.clone(),
                about: About::Task(Box::new(task)),
                ..Persistent::default()
            });
        }
        self.doubts("schedule_tasks", "T1053.005");
        Ok(())
    }

    /// Services and drivers that nobody has to start.
    fn services(&mut self) -> VerbResult {
        let by_itself = |start: StartType| !matches!(start, StartType::Manual | StartType::Disabled);
        // Without its hive there are none; other lists are told all the same.
        let known = match services(self.registry, self.stop) {
            Err(VerbError::Failed(why)) => {
                self.registry.note(SERVICES, why);
                self.doubts("services", "T1543.003");
                return Ok(());
            }
            known => known?,
        };
        for service in known.all.into_iter().filter(|service| by_itself(service.start)) {
            let runs = match (service.command, service.service_dll) {
                (Some(command), Some(dll)) => Some(format!("{command} ({dll})")),
                (command, dll) => command.or(dll),
            };
            self.found.push(Persistent {
                category: "services",
                place: service.reg_path,
                runs,
                modified: service.modified,
                technique: "T1543.003",
                user: service.user,
                enabled: Some(true),
                error: service.error,
                ..Persistent::default()
            });
        }
        for driver in drivers(self.registry, self.stop)?.all.into_iter().filter(|driver| driver.start.is_some_and(by_itself)) {
            self.found.push(Persistent {
                category: "services",
                place: driver.reg_path,
                runs: driver.path.as_deref().map(crate::agent::path::lossy),
                technique: "T1543.003",
                enabled: Some(true),
                error: driver.error,
                ..Persistent::default()
            });
        }
        self.doubts("services", "T1543.003");
        Ok(())
    }
}

/// A value as an entry; none where it runs nothing.
fn entry(found: &Found, value: &Value, off: Option<&HashSet<String>>, looking: &Looking<'_>) -> Option<Persistent> {
    let told = item(found, value);
    let runs = match &told.value {
        Json::String(text) => text.clone(),
        Json::Array(texts) => texts.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("; "),
        _ => String::new(),
    };
    if runs.trim_matches(['"', ' ', ';']).is_empty() && told.error.is_none() {
        return None;
    }
    let name = told.name.clone().unwrap_or_default();
    Some(Persistent {
        category: "registry",
        place: Some(format!(r"{}\\{name}", found.path)),
        runs: Some(runs),
        modified: told.modified,
        technique: looking.technique,
        user: looking.profile.map(|profile| profile.name.clone()),
        enabled: off.map(|off| !off.contains(&name.to_lowercase())),
        error: told.error.clone(),
        about: About::Value(Box::new(told)),
        ..Persistent::default()
    })
}
