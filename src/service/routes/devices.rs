//! Who calls, devices and settings: what is asked without a session.

use axum::Json;
use axum::extract::{Path, State};

use super::{BasicCaller, Caller, Posted};
use crate::grammar::Role;
use crate::protocol::{Analyst, Device, Settings, SettingsChange};
use crate::service::error::Answer;
use crate::service::state::Service;

/// The caller and their roles, so that a shell can say beforehand what will be refused.
#[utoipa::path(get, path = "/analyst", operation_id = "get_analyst", tag = "analysts",
    responses((status = 200, description = "Who calls.", body = Analyst)))]
pub(super) async fn analyst(caller: Caller) -> Json<Analyst> {
    let Caller { analyst, .. } = caller;
    Json(Analyst { name: analyst.name, roles: analyst.roles.iter().map(|role| role.as_str().to_owned()).collect() })
}

/// The devices that the service knows.
#[utoipa::path(get, path = "/devices", operation_id = "list_devices", tag = "devices",
    responses((status = 200, description = "Every device.", body = Vec<Device>)))]
pub(super) async fn list(State(service): State<Service>, _caller: BasicCaller) -> Json<Vec<Device>> {
    Json(service.devices().map(|(device, _)| device).collect())
}

/// One device.
#[utoipa::path(get, path = "/devices/{id}", operation_id = "get_device", tag = "devices",
    params(("id" = String, Path, description = "Its id, its name, or a unique start of either.")),
    responses(
        (status = 200, description = "The device.", body = Device),
        (status = 400, description = "Several devices are called so, or the path is not UTF-8."),
        (status = 404, description = "There is no such device."),
    ))]
pub(super) async fn one(State(service): State<Service>, _caller: BasicCaller, Path(id): Path<String>) -> Answer<Json<Device>> {
    Ok(Json(service.find_device(Some(&id))?.0))
}

/// The switches that hold for the whole service.
#[utoipa::path(get, path = "/settings", operation_id = "get_settings", tag = "settings",
    responses((status = 200, description = "How they stand.", body = Settings)))]
pub(super) async fn settings(State(service): State<Service>, caller: Caller) -> Answer<Json<Settings>> {
    // Who may change the switches may see them.
    if !caller.analyst.may(Role::Settings) {
        caller.analyst.check(Role::Basic, "reading the settings")?;
    }
    Ok(Json(service.settings()))
}

/// Changes switches; needs the role `settings`. What is left out stays as it is.
#[utoipa::path(patch, path = "/settings", operation_id = "change_settings", tag = "settings",
    request_body = SettingsChange,
    responses(
        (status = 200, description = "How they stand now.", body = Settings),
        (status = 400, description = "The body is not understood."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not said to be JSON."),
    ))]
pub(super) async fn change_settings(
    State(service): State<Service>,
    caller: Caller,
    Posted(change): Posted<SettingsChange>,
) -> Answer<Json<Settings>> {
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
