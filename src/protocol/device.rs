//! Devices and what an agent says of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kinds of device that the command table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlatformName {
    /// Microsoft Windows, live or as a mounted disk.
    Windows,
    /// Apple macOS.
    Macos,
    /// Linux.
    Linux,
}

impl PlatformName {
    /// As it is written in the table and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Macos => "macos",
            Self::Linux => "linux",
        }
    }

    /// The directory a shell starts in there.
    #[must_use]
    pub fn start_directory(self) -> &'static str {
        match self {
            Self::Windows => "C:\\",
            Self::Macos | Self::Linux => "/",
        }
    }
}

impl std::fmt::Display for PlatformName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PlatformName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "windows" => Ok(Self::Windows),
            "macos" => Ok(Self::Macos),
            "linux" => Ok(Self::Linux),
            _ => Err(format!("{text} is no platform: windows, macos or linux")),
        }
    }
}

/// What an agent says of itself and its device when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The agent's [`super::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// A stable name for the device: 40 hexadecimal digits, as Defender's machine id.
    pub device_id: String,
    /// The host name.
    pub name: String,
    /// The kind of device.
    pub platform: PlatformName,
    /// The agent's own version.
    pub version: String,
    /// What the system calls itself: the name of a distribution, a Windows with its build; `None` where nothing tells it.
    #[serde(default)]
    pub os: Option<String>,
    /// The kernel's boot id; `None` where the device is a mounted root.
    pub boot_id: Option<String>,
    /// A Windows Server, or a Linux whose default target is not graphical.
    pub server: bool,
    /// The folder that `--root` named, when the device is not this machine's running system.
    pub root: Option<String>,
}

/// A device as `GET /devices` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Device {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The host name.
    pub name: String,
    /// The kind of device.
    pub platform: PlatformName,
    /// The agent's version.
    pub version: String,
    /// What the system calls itself.
    #[serde(default)]
    pub os: Option<String>,
    /// When its agent was last heard.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// Whether its agent is there now.
    pub state: DeviceState,
    /// Labels: `server`, `root`.
    pub tags: Vec<String>,
    /// The folder that `--root` named, when the device is switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl Device {
    /// The name, and the root where there is one: what prompt and dashboard call the device.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.root {
            Some(root) => format!("{}:{root}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Whether a device's agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Its agent is connected.
    Online,
    /// Its agent is not connected.
    Offline,
}
