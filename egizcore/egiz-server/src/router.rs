//! The table of routes, and the door before them.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use egiz_api::Code;

use crate::app::App;
use crate::error::ApiError;
use crate::ports::Ports;
use crate::things::{bulk, import, read, write};
use crate::{
    annotations, assets, audit, backups, devices, discovered, docs, guard, history, influx, layout, live,
    program, query, registry, templates, tokens,
};

/// Every route but those of live subscriptions, the documentation page and EgizVision's files.
pub(crate) fn table() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/api/v1/things", get(read::list).post(write::create)),
        ("/api/v1/things/count", get(read::count)),
        ("/api/v1/things/import", post(import::import)),
        ("/api/v1/things/bulk", post(bulk::bulk)),
        ("/api/v1/things/{thingId}/history", get(history::history)),
        ("/api/v1/things/{thingId}/history/intervals", get(history::intervals::of_thing)),
        (
            "/api/v1/things/{thingId}/history/corrections",
            get(history::corrections::list).post(history::corrections::create),
        ),
        (
            "/api/v1/things/{thingId}/history/corrections/{correctionId}",
            get(history::corrections::get).delete(history::corrections::undo),
        ),
        (
            "/api/v1/things/{thingId}",
            get(read::thing).put(write::put_thing).patch(write::patch_thing).delete(write::delete_thing),
        ),
        (
            "/api/v1/things/{thingId}/{*path}",
            get(read::part).put(write::put_part).patch(write::patch_part).delete(write::delete_part),
        ),
        ("/api/v1/query", post(query::query)),
        ("/api/v1/query/count", post(query::count)),
        ("/api/v1/query/aggregate", post(query::aggregate)),
        ("/api/v1/history/query", post(history::many::query)),
        ("/api/v1/history/intervals", get(history::intervals::of_all)),
        ("/api/v1/annotations", get(annotations::list).post(annotations::create)),
        (
            "/api/v1/annotations/{annotationId}",
            get(annotations::get).patch(annotations::change).delete(annotations::delete),
        ),
        ("/api/v1/state", get(history::past::state)),
        ("/api/v1/devices", get(devices::list).post(devices::create)),
        ("/api/v1/devices/discovered", get(discovered::list)),
        ("/api/v1/devices/discovered/{thingId}", axum::routing::delete(discovered::forget)),
        ("/api/v1/devices/discovered/{thingId}/accept", post(discovered::accept)),
        ("/api/v1/devices/{deviceId}", get(devices::get).delete(devices::delete)),
        ("/api/v1/devices/{deviceId}/credentials", post(devices::credentials).delete(devices::withdraw)),
        ("/api/v1/templates", get(templates::list)),
        ("/api/v1/templates/{name}", get(templates::get).put(templates::put).delete(templates::delete)),
        ("/api/v1/registry/export", get(registry::export)),
        ("/api/v1/registry/import", post(registry::import)),
        ("/api/v1/rejected", get(program::rejected)),
        ("/api/v1/layout", get(layout::get).put(layout::put).delete(layout::delete)),
        ("/api/v1/tokens", get(tokens::list).post(tokens::create)),
        ("/api/v1/tokens/{name}", get(tokens::get).patch(tokens::change).delete(tokens::delete)),
        ("/api/v1/audit", get(audit::list)),
        ("/api/v1/backups", get(backups::list).post(backups::begin)),
        ("/api/v1/backups/{backupId}", get(backups::get)),
        ("/api/v1/site", get(program::site)),
        ("/api/v1/health", get(program::health)),
        ("/api/v1/health/live", get(program::live)),
        ("/api/v1/health/ready", get(program::ready)),
        ("/metrics", get(program::metrics)),
        ("/ping", get(influx::ping)),
        ("/query", get(influx::query::query).post(influx::query::query_by_form)),
        ("/write", post(influx::write::write)),
        ("/api/v2/write", post(influx::write::write_v2)),
    ]
}

/// The whole HTTP side: REST, live subscriptions, documentation, EgizVision's files.
pub fn router(ports: Ports) -> Router {
    let app = App::new(ports.clone());
    let mut routes = Router::new();
    for (path, methods) in table() {
        routes = routes.route(path, methods);
    }
    let inner = routes
        // Probes and people look for health at the root.
        .route("/health", get(program::health))
        .route("/health/live", get(program::live))
        .route("/health/ready", get(program::ready))
        .with_state(app.clone())
        .nest("/api/v1", live::routes().with_state(ports))
        .merge(docs::routes())
        .fallback(assets::serve)
        .method_not_allowed_fallback(method_not_allowed);
    // Around the whole: a layer on the routes themselves would not see the `Allow` that the router adds to a 405.
    Router::new().fallback_service(inner).layer(from_fn_with_state(app, guard::guard))
}

/// What the PRD's port for EgizVision serves: the same, so that the page finds the API at its own origin.
pub fn vision_router(ports: Ports) -> Router {
    router(ports)
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        "the route does not know this method; `Allow` lists those that it knows",
    )
}
