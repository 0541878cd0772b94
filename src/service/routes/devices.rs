//! Who calls, devices and settings: what is asked without a session.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};

use super::{BasicCaller, Caller};
use crate::grammar::Role;
use crate::protocol::{Analyst, Device, Settings, SettingsChange};
use crate::service::error::{Answer, Refusal};
use crate::service::state::Service;

/// The caller and their roles, so that a shell can say beforehand what will be refused.
pub(super) async fn analyst(caller: Caller) -> Json<Analyst> {
    let Caller { analyst, .. } = caller;
    Json(Analyst { name: analyst.name, roles: analyst.roles.iter().map(|role| role.as_str().to_owned()).collect() })
}

pub(super) async fn list(State(service): State<Service>, _caller: BasicCaller) -> Json<Vec<Device>> {
    Json(service.devices().map(|(device, _)| device).collect())
}

pub(super) async fn one(State(service): State<Service>, _caller: BasicCaller, Path(id): Path<String>) -> Answer<Json<Device>> {
    Ok(Json(service.find_device(Some(&id))?.0))
}

pub(super) async fn settings(State(service): State<Service>, caller: Caller) -> Answer<Json<Settings>> {
    // Who may change the switches may see them.
    if !caller.analyst.may(Role::Settings) {
        caller.analyst.check(Role::Basic, "reading the settings")?;
    }
    Ok(Json(service.settings()))
}

pub(super) async fn change_settings(
    State(service): State<Service>,
    caller: Caller,
    change: Result<Json<SettingsChange>, JsonRejection>,
) -> Answer<Json<Settings>> {
    let Json(change) = change.map_err(|error| Refusal::bad("bad_body", error.body_text()))?;
    caller.analyst.check(Role::Settings, "changing a setting")?;
    let changes = [
        ("live_response", change.live_response),
        ("live_response_servers", change.live_response_servers),
        ("unsigned_scripts", change.unsigned_scripts),
    ];
    for (name, value) in changes {
        if let Some(value) = value {
            service.change_setting(&caller.analyst, name, value).await?;
        }
    }
    Ok(Json(service.settings()))
}
