//! The registry as one JSON document: templates, Things, devices; out of one installation and into another.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use egiz_api::{Code, Problem};
use egiz_model::record::{Body as RecordBody, Preconditions, ThingWrite, WriteOperation};
use egiz_store::{
    ExportOptions, ImportOptions, ImportOutcome, ImportReport, ImportedThing, OnExisting, RegistryDocument,
    Template,
};
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::error::{ApiError, of_refusal};
use crate::params::{self, Params};
use crate::{body, respond, submit};

/// How many records go to the journal at once.
const BATCH_RECORDS: usize = 128;

/// The whole registry as a document.
#[utoipa::path(get, path = "/api/v1/registry/export", tag = "registry",
    params(("credentialHashes" = Option<bool>, Query,
        description = "Whether devices' password hashes go along; treat such a document as a secret")),
    responses(
        (status = 200, description = "The document", body = Object),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn export(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["credentialHashes"])?;
    let options = ExportOptions { credential_hashes: params.flag("credentialHashes")? };
    let document = app.ports.store.export(options, &submit::author(&app, &caller)).await?;
    let mut response = respond::json_bytes(StatusCode::OK, document.to_json().into_bytes());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"openegiz-registry.json\""),
    );
    Ok(response)
}

/// Takes a document in: all of its templates and devices or none, then its Things one by one.
#[utoipa::path(post, path = "/api/v1/registry/import", tag = "registry",
    params(
        ("dryRun" = Option<bool>, Query, description = "Whether only to report what would happen"),
        ("onExisting" = Option<String>, Query,
            description = "What happens to an item whose key exists: `refuse` (default), `keep` or `replace`"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request sent again with the same key is answered as before, not carried out again"),
    ),
    request_body = Object,
    responses(
        (status = 200, description = "The report, an entry an item", body = Object),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn import(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["dryRun", "onExisting"])?;
    let on_existing = match params.get("onExisting") {
        None | Some("refuse") => OnExisting::Refuse,
        Some("keep") => OnExisting::Keep,
        Some("replace") => OnExisting::Replace,
        Some(_) => return Err(params::refused("onExisting", "it must be refuse, keep or replace")),
    };
    let options = ImportOptions { dry_run: params.flag("dryRun")?, on_existing };
    body::want_json(&headers)?;
    let settings = &app.ports.settings;
    let bytes = body::read_up_to(&headers, content, settings, settings.registry_bytes_max).await?;
    body::json::check(&bytes, settings.json_depth_max)?;
    let text = String::from_utf8_lossy(&bytes);
    let document = RegistryDocument::from_json(&text)?;
    let report = app.ports.store.import(&document, options, &submit::author(&app, &caller)).await?;

    let mut things = Vec::new();
    if report.applied {
        put_in_force(&app, &caller, &document, &report).await?;
        things = submit_things(&app, &caller, &report.things, on_existing).await?;
    }
    Ok(respond::json(StatusCode::OK, &shown(&report, options.dry_run, &things)))
}

/// Submits the templates that were written.
async fn put_in_force(
    app: &App,
    caller: &Caller,
    document: &RegistryDocument,
    report: &ImportReport,
) -> Result<(), ApiError> {
    let mut records = Vec::new();
    for (value, item) in document.templates.iter().zip(&report.items) {
        if matches!(item.outcome, ImportOutcome::Created | ImportOutcome::Replaced)
            && let Ok(template) = Template::from_json(value)
        {
            let json = template.to_json().to_string();
            let body = RecordBody::Template { definition: &template.definition, json: &json };
            records.push(submit::record(app, caller, body));
        }
    }
    for chunk in records.chunks(BATCH_RECORDS) {
        submit::batch(app, chunk.to_vec()).await?;
    }
    Ok(())
}

/// Submits the document's Things and says what came of each.
async fn submit_things(
    app: &App,
    caller: &Caller,
    things: &[ImportedThing],
    on_existing: OnExisting,
) -> Result<Vec<Value>, ApiError> {
    let mut outcomes = Vec::new();
    for chunk in things.chunks(BATCH_RECORDS) {
        let records = chunk.iter().map(|thing| record(app, caller, thing, on_existing)).collect();
        let applied = submit::batch(app, records).await?;
        for (thing, applied) in chunk.iter().zip(applied) {
            outcomes.push(match applied.outcome {
                egiz_twin::Outcome::Write(egiz_twin::WriteOutcome::Refused(refusal)) => {
                    let exists = matches!(refusal, egiz_twin::Refusal::AlreadyExists { .. });
                    if exists && on_existing == OnExisting::Keep {
                        json!({"thingId": thing.thing_id, "outcome": "kept"})
                    } else {
                        let problem = of_refusal(refusal, thing.thing_id.as_str());
                        json!({"thingId": thing.thing_id, "outcome": "refused", "problem": *problem.0})
                    }
                }
                egiz_twin::Outcome::Write(egiz_twin::WriteOutcome::Created { .. }) => {
                    json!({"thingId": thing.thing_id, "outcome": "created"})
                }
                egiz_twin::Outcome::Write(egiz_twin::WriteOutcome::Unchanged { .. }) => {
                    json!({"thingId": thing.thing_id, "outcome": "unchanged"})
                }
                _ => json!({"thingId": thing.thing_id, "outcome": "replaced"}),
            });
        }
    }
    Ok(outcomes)
}

fn record(app: &App, caller: &Caller, thing: &ImportedThing, on_existing: OnExisting) -> Vec<u8> {
    let mut content = json!({ "attributes": thing.attributes });
    if let Some(definition) = &thing.definition {
        content["definition"] = definition.as_str().into();
    }
    let operation = match on_existing {
        OnExisting::Replace => WriteOperation::Merge,
        OnExisting::Refuse | OnExisting::Keep => {
            content["thingId"] = thing.thing_id.as_str().into();
            WriteOperation::Create
        }
    };
    let content = content.to_string();
    let write = ThingWrite {
        thing: thing.thing_id.as_str(),
        operation,
        path: "",
        content: content.as_bytes(),
        preconditions: Preconditions::default(),
    };
    submit::record(app, caller, RecordBody::ThingWrite(write))
}

fn shown(report: &ImportReport, dry_run: bool, things: &[Value]) -> Value {
    let items: Vec<Value> = report
        .items
        .iter()
        .map(|item| {
            let mut entry = json!({"pointer": item.pointer, "key": item.key});
            entry["outcome"] = match &item.outcome {
                ImportOutcome::Created => "created",
                ImportOutcome::Replaced => "replaced",
                ImportOutcome::Unchanged => "unchanged",
                ImportOutcome::Kept => "kept",
                ImportOutcome::ToSubmit => "to-submit",
                ImportOutcome::Refused { reason } => {
                    entry["reason"] = reason.as_str().into();
                    "refused"
                }
            }
            .into();
            entry
        })
        .collect();
    json!({"dryRun": dry_run, "applied": report.applied, "items": items, "things": things})
}

impl From<egiz_store::ImportError> for ApiError {
    fn from(error: egiz_store::ImportError) -> Self {
        match error {
            egiz_store::ImportError::Store(error) => error.into(),
            other => {
                Problem::new(Code::InvalidValue, other.to_string()).at("", "not a registry document").into()
            }
        }
    }
}
