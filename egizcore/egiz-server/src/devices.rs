//! Devices that may sign in to the broker, and their passwords. A device's id is `<site>:<name>`, the levels of its topic.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, Credential, Device, DevicePage, NewDevice, Problem};
use egiz_model::ThingId;
use egiz_store::{DeviceKey, PageRequest};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{NoParams, Params};
use crate::{body, cursor, page, respond, submit, target};

const PREFIX: &str = "/api/v1/devices/";

/// The devices by site and name.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = DevicePage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = u32::try_from(page::limit(params.number("limit")?)?).unwrap_or(1);
    let settings = &app.ports.settings;
    let question = ["devices", &*caller.principal];
    let after = match params.get("cursor") {
        Some(text) => Some(key_of(&cursor::open_text(&settings.cursor_key, &question, text)?, &[])?),
        None => None,
    };
    let stored = app.ports.store.list_devices(PageRequest { after, limit }).await?;
    let page = DevicePage {
        items: stored.items.iter().map(shown).collect(),
        cursor: stored.next.map(|next| cursor::seal_text(&settings.cursor_key, &question, &id_of(&next))),
    };
    Ok(respond::json(StatusCode::OK, &page))
}

/// Enters a device, without a password.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices", request_body = NewDevice,
    params(("Idempotency-Key" = Option<String>, Header, description = "A request sent again with the same key is answered as before, not carried out again")),
    responses(
        (status = 201, description = "Entered", body = Device),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let new: NewDevice = body::read_json(&headers, content, &app.ports.settings).await?;
    let sites = &app.ports.settings.sites;
    let key = key_of(&new.device_id, sites)?;
    let thing = match &new.thing_id {
        Some(thing) => target::thing_id(thing, sites)?,
        None => id_of(&key),
    };
    let thing_id =
        ThingId::new(&thing).map_err(|error| ApiError::new(Code::InvalidThingId, error.to_string()))?;
    let device = egiz_store::NewDevice { key: key.clone(), thing_id };
    app.ports.store.create_device(&device, &submit::author(&app, &caller)).await?;
    let stored = app.ports.store.device(&key).await?.ok_or_else(|| missing(&key))?;
    let mut response = respond::json(StatusCode::CREATED, &shown(&stored));
    respond::set_location(&mut response, &format!("{PREFIX}{}", id_of(&key)));
    Ok(response)
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{deviceId}", tag = "devices",
    params(("deviceId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 200, description = "The device", body = Device),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(State(app): State<App>, _: NoParams, uri: Uri) -> Result<Response, ApiError> {
    let key = key_in(&uri, &app)?;
    let stored = app.ports.store.device(&key).await?.ok_or_else(|| missing(&key))?;
    Ok(respond::json(StatusCode::OK, &shown(&stored)))
}

/// Removes a device: it cannot sign in any more. Its Thing stays.
#[utoipa::path(delete, path = "/api/v1/devices/{deviceId}", tag = "devices",
    params(("deviceId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 204, description = "Removed"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let key = key_in(&uri, &app)?;
    app.ports.store.delete_device(&key, &submit::author(&app, &caller)).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Gives a device a new password, shown this once; an old one stops to work.
#[utoipa::path(post, path = "/api/v1/devices/{deviceId}/credentials", tag = "devices",
    params(("deviceId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 201, description = "User name and password", body = Credential),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn credentials(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let key = key_in(&uri, &app)?;
    let secret = app.ports.store.generate_device_secret(&key, &submit::author(&app, &caller)).await?;
    let device_id = id_of(&key);
    let credential =
        Credential { username: device_id.clone(), device_id, password: secret.expose().to_owned() };
    let mut response = respond::json(StatusCode::CREATED, &credential);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Takes a device's password away.
#[utoipa::path(delete, path = "/api/v1/devices/{deviceId}/credentials", tag = "devices",
    params(("deviceId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 204, description = "Taken away"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let key = key_in(&uri, &app)?;
    app.ports.store.remove_device_credential(&key, &submit::author(&app, &caller)).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

fn key_in(uri: &Uri, app: &App) -> Result<DeviceKey, ApiError> {
    key_of(&target::segment_after(uri.path(), PREFIX)?, &app.ports.settings.sites)
}

fn key_of(id: &str, sites: &[String]) -> Result<DeviceKey, ApiError> {
    let id = target::thing_id(id, sites)?;
    let (site, name) = id.split_once(':').unwrap_or(("", &id));
    Ok(DeviceKey::new(site, name))
}

fn id_of(key: &DeviceKey) -> String {
    format!("{}:{}", key.site, key.name)
}

fn missing(key: &DeviceKey) -> ApiError {
    ApiError::new(Code::EntryNotFound, format!("there is no device {}", id_of(key)))
}

fn shown(device: &egiz_store::Device) -> Device {
    Device {
        device_id: id_of(&device.key),
        thing_id: device.thing_id.to_string(),
        has_credential: device.has_credential,
        enabled: device.enabled,
        created: device.created,
        credential_changed: device.credential_changed,
    }
}
