//! Devices that were heard and are no Things yet: look at them, accept them, forget them.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{AcceptRequest, Code, DiscoveredDevice, DiscoveredPage, Problem, Thing};
use egiz_model::record::{Body as RecordBody, Preconditions, ThingWrite, WriteOperation};
use egiz_store::{PageRequest, StoredTemplate};
use egiz_twin::{Outcome, WriteOutcome};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::error::{ApiError, of_refusal};
use crate::fields::Shown;
use crate::params::{NoParams, Params};
use crate::{body, cursor, min_offset, page, present, respond, submit, target};

const PREFIX: &str = "/api/v1/devices/discovered/";

/// The discovered devices by id.
#[utoipa::path(get, path = "/api/v1/devices/discovered", tag = "devices",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = DiscoveredPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["limit", "cursor"])?;
    let limit = page::limit(params.number("limit")?)?;
    let key = &app.ports.settings.cursor_key;
    let question = ["discovered", &*caller.principal];
    let after = params.get("cursor").map(|text| cursor::open_text(key, &question, text)).transpose()?;
    let templates = templates(&app).await?;
    min_offset::wait_for_acknowledged(&app.ports).await?;
    let (items, more) = {
        let engine = app.ports.engine.read();
        // By id already.
        let mut found =
            engine.discovered().filter(|(id, _)| after.as_deref().is_none_or(|after| *id > after));
        let items: Vec<DiscoveredDevice> = found
            .by_ref()
            .take(limit)
            .map(|(id, device)| DiscoveredDevice {
                thing_id: id.to_owned(),
                first_heard: device.first_heard,
                last_heard: device.last_heard,
                messages: device.messages,
                features: samples(id, device),
                templates: fitting(&templates, id.split_once(':').map_or(id, |(_, name)| name)),
            })
            .collect();
        let more = found.next().is_some();
        (items, more)
    };
    let cursor = items.last().filter(|_| more).map(|last| cursor::seal_text(key, &question, &last.thing_id));
    Ok(respond::json(StatusCode::OK, &DiscoveredPage { items, cursor }))
}

/// Makes a Thing of a discovered device, with the last values heard of it.
#[utoipa::path(post, path = "/api/v1/devices/discovered/{thingId}/accept", tag = "devices", request_body = AcceptRequest,
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request sent again with the same key is answered as before, not carried out again"),
    ),
    responses(
        (status = 201, description = "The Thing", body = Thing),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn accept(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let settings = &app.ports.settings;
    let thing = target::thing_id(&target::segment_after(uri.path(), PREFIX)?, &settings.sites)?;
    let request: AcceptRequest = body::read_json(&headers, content, settings).await?;
    let mut definition = None;
    let mut attributes = Map::new();
    if let Some(name) = &request.template {
        let Some(stored) = app.ports.store.template(name).await? else {
            let name: String = name.chars().take(120).collect();
            return Err(Problem::new(Code::InvalidValue, format!("there is no template `{name}`"))
                .at("/template", "the name of a template")
                .into());
        };
        definition = Some(stored.template.definition);
        attributes = stored.template.attributes;
    }
    attributes.extend(request.attributes.unwrap_or_default());
    let mut content = json!({ "thingId": thing, "attributes": attributes });
    if let Some(definition) = request.definition.or(definition) {
        content["definition"] = definition.into();
    }
    let content = content.to_string();
    let write = ThingWrite {
        thing: &thing,
        operation: WriteOperation::Accept,
        path: "",
        content: content.as_bytes(),
        preconditions: Preconditions::default(),
    };
    let applied = submit::one(&app, submit::record(&app, &caller, RecordBody::ThingWrite(write))).await?;
    let revision = match applied.outcome {
        Outcome::Write(WriteOutcome::Refused(refusal)) => return Err(of_refusal(refusal, &thing)),
        Outcome::Write(WriteOutcome::Created { revision } | WriteOutcome::Changed { revision }) => revision,
        outcome => {
            tracing::error!(?outcome, "an accepted device had an unexpected outcome");
            return Err(ApiError::new(
                Code::Internal,
                "the server failed; its log has more under this traceId",
            ));
        }
    };
    let mut out = Vec::with_capacity(1024);
    // The tag goes with what is shown, which may be a later state already.
    let etag = app.ports.engine.read().thing(&thing).map(|thing| {
        present::thing(&mut out, &thing, &Shown::Everything, false);
        thing.entity_tag("")
    });
    let mut response = respond::json_bytes(StatusCode::CREATED, out);
    respond::set_location(&mut response, &format!("{}{thing}", target::THINGS));
    if let Some(etag) = etag {
        respond::set_etag(&mut response, &etag);
    }
    respond::set_number(&mut response, respond::REVISION, revision);
    respond::set_number(&mut response, respond::OFFSET, applied.offset);
    Ok(response)
}

/// Forgets a discovered device; it is heard anew if it sends again.
#[utoipa::path(delete, path = "/api/v1/devices/discovered/{thingId}", tag = "devices",
    params(("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn forget(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let thing = target::thing_id(&target::segment_after(uri.path(), PREFIX)?, &app.ports.settings.sites)?;
    min_offset::wait_for_acknowledged(&app.ports).await?;
    let known = app.ports.engine.read().discovered_device(&thing).is_some();
    if !known {
        return Err(ApiError::new(Code::NotDiscovered, format!("no device {thing} is waiting")));
    }
    let record = submit::record(&app, &caller, RecordBody::Forget { thing: &thing });
    let applied = submit::one(&app, record).await?;
    let mut response = respond::empty(StatusCode::NO_CONTENT);
    respond::set_number(&mut response, respond::OFFSET, applied.offset);
    Ok(response)
}

async fn templates(app: &App) -> Result<Vec<StoredTemplate>, ApiError> {
    Ok(app.ports.store.list_templates(PageRequest::first(egiz_store::MAX_PAGE_ITEMS)).await?.items)
}

/// The templates that fit a device, the best first.
fn fitting(templates: &[StoredTemplate], name: &str) -> Vec<String> {
    let all = templates.iter().map(|stored| &stored.template);
    let best = egiz_store::best_match(all.clone(), name).map(|template| template.name.clone());
    let others = all.filter(|template| template.fits_device(name)).map(|template| template.name.clone());
    let others = others.filter(|name| Some(name) != best.as_ref());
    best.clone().into_iter().chain(others.collect::<Vec<_>>()).collect()
}

fn samples(id: &str, device: &egiz_twin::Discovered) -> Map<String, Value> {
    let mut features = Map::new();
    for feature in device.last_message(id).features() {
        let properties: Map<String, Value> = feature
            .samples()
            .map(|sample| (sample.property.to_string(), sample.value.to_owned().to_json()))
            .collect();
        features.insert(feature.name.to_string(), properties.into());
    }
    features
}
