//! The API's description (OpenAPI 3.1), generated from the handlers and types, and a page to browse it, served offline.

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_swagger_ui::SwaggerUi;

use crate::history::{self, corrections, intervals, many, past};
use crate::live::{socket, stream, tickets};
use crate::things::{bulk, import, read, write};
use crate::{
    annotations, audit, backups, devices, discovered, influx, layout, program, query, registry, templates,
    tokens,
};

/// The description; [`document`] completes it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "OpenEgiz",
        description = "Live twins of a food factory over HTTP. Errors are problem details with stable codes \
            (docs/api/errors.md); live subscriptions are described in docs/api/websocket.md.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This server")),
    paths(
        read::list, read::count, read::thing, read::part,
        write::create, write::put_thing, write::put_part, write::patch_thing, write::patch_part,
        write::delete_thing, write::delete_part,
        import::import, bulk::bulk,
        query::query, query::count, query::aggregate,
        history::history, intervals::of_thing, intervals::of_all, many::query, past::state,
        corrections::create, corrections::list, corrections::get, corrections::undo,
        annotations::list, annotations::create, annotations::get, annotations::change, annotations::delete,
        discovered::list, discovered::accept, discovered::forget,
        devices::list, devices::create, devices::get, devices::delete, devices::credentials, devices::withdraw,
        templates::list, templates::get, templates::put, templates::delete,
        registry::export, registry::import,
        tokens::list, tokens::create, tokens::get, tokens::change, tokens::delete, audit::list,
        layout::get, layout::put, layout::delete,
        backups::list, backups::begin, backups::get,
        program::rejected, program::site, program::health, program::live, program::ready,
        program::metrics,
        influx::ping, influx::query::query, influx::query::query_by_form, influx::write::write, influx::write::write_v2,
        socket::upgrade, stream::events, stream::events_of_thing, tickets::create,
    ),
    components(schemas(egiz_api::Problem, egiz_api::Thing, egiz_api::ThingAt, egiz_api::FeatureAt, egiz_api::Summary, egiz_api::live::Frame, egiz_api::live::SearchFrame, egiz_api::playback::PlaybackFrame, egiz_api::live::AckFrame)),
    tags(
        (name = "things", description = "Things and every part of them"),
        (name = "query", description = "Filters, counts, aggregates over live state"),
        (name = "history", description = "What was: samples, aggregates, charts, and how everything stood at a past time"),
        (name = "live", description = "Changes as they happen, over WebSocket or as server-sent events (docs/api/websocket.md)"),
        (name = "bulk", description = "Many Things at once"),
        (name = "influx", description = "InfluxDB's protocols, for Telegraf and Grafana (docs/influx.md)"),
        (name = "devices", description = "Devices: discovered, known, refused messages"),
        (name = "templates", description = "What Things of one type have in common"),
        (name = "registry", description = "The registry as one document"),
        (name = "access", description = "API tokens and the audit trail"),
        (name = "program", description = "Health, metrics, site, layout, backups"),
    ),
    security((), ("bearer" = [])),
)]
struct Description;

/// The complete description.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    document.info.version = "1.0.0".to_owned();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    document
}

/// `/api/docs` and `/api/v1/openapi.json`.
pub(crate) fn routes() -> Router {
    SwaggerUi::new("/api/docs").url("/api/v1/openapi.json", document()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other way is tested over a listener: what is described is served.
    #[test]
    fn every_route_is_described() {
        let document = document();
        for (path, _) in crate::router::table() {
            let described = path.replace("{*path}", "{path}");
            assert!(document.paths.paths.contains_key(&described), "{path}");
        }
    }
}
