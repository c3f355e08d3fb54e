//! Templates: what Things of one type have in common. The registry keeps them; a record puts them in force in the engine.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, Problem};
use egiz_model::Timestamp;
use egiz_model::record::Body as RecordBody;
use egiz_store::{Expected, PageRequest, StoredTemplate, Template};
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::conditional::{ReadVerdict, decide_read};
use crate::error::ApiError;
use crate::params::{NoParams, Params};
use crate::{body, cursor, page, respond, submit, target};

const PREFIX: &str = "/api/v1/templates/";

/// The templates by name.
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page: `items`, `cursor`", body = Object),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = u32::try_from(page::limit(params.number("limit")?)?).unwrap_or(1);
    let key = &app.ports.settings.cursor_key;
    let question = ["templates", &*caller.principal];
    let after = params.get("cursor").map(|text| cursor::open_text(key, &question, text)).transpose()?;
    let stored = app.ports.store.list_templates(PageRequest { after, limit }).await?;
    let items: Vec<Value> = stored.items.iter().map(shown).collect();
    let mut answer = json!({ "items": items });
    if let Some(next) = stored.next {
        answer["cursor"] = cursor::seal_text(key, &question, &next).into();
    }
    Ok(respond::json(StatusCode::OK, &answer))
}

/// One template.
#[utoipa::path(get, path = "/api/v1/templates/{name}", tag = "templates",
    params(("name" = String, Path, description = "The template's name")),
    responses(
        (status = 200, description = "The template, with `_version`, `_created` and `_modified`", body = Object),
        (status = 304, description = "It is the one of `If-None-Match`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    _: NoParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = target::segment_after(uri.path(), PREFIX)?;
    let Some(stored) = app.ports.store.template(&name).await? else { return Err(missing(&name)) };
    let etag = etag(stored.version, stored.created);
    let mut response = match decide_read(&headers, &etag)? {
        ReadVerdict::NotModified => respond::empty(StatusCode::NOT_MODIFIED),
        ReadVerdict::IfMatchFailed => return Err(conflict(&name, stored.version)),
        ReadVerdict::Proceed => respond::json(StatusCode::OK, &shown(&stored)),
    };
    respond::set_etag(&mut response, &etag);
    Ok(response)
}

/// Creates or replaces a template and puts it in force.
#[utoipa::path(put, path = "/api/v1/templates/{name}", tag = "templates",
    params(
        ("name" = String, Path, description = "The template's name"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be replaced, or `*`"),
        ("If-None-Match" = Option<String>, Header, description = "`*` creates only"),
    ),
    request_body = Object,
    responses(
        (status = 201, description = "Created"),
        (status = 204, description = "Replaced"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let name = target::segment_after(uri.path(), PREFIX)?;
    let mut value: Value = body::read_json(&headers, content, &app.ports.settings).await?;
    if let Some(members) = value.as_object_mut() {
        // What `GET` shows may be put back.
        members.retain(|member, _| !member.starts_with('_'));
        let given = members.entry("name").or_insert_with(|| name.clone().into());
        if given.as_str() != Some(&name) {
            return Err(Problem::new(Code::InvalidValue, "the name in the body is not the one of the URL")
                .at("/name", format!("must be `{name}` or missing"))
                .into());
        }
    }
    let template = Template::from_json(&value).map_err(egiz_store::StoreError::from)?;
    let store = &app.ports.store;
    let before = store.template(&name).await?;
    let expected = expected(&headers, &name, before.as_ref())?;
    let author = submit::author(&app, &caller);
    let version = store.put_template(&template, expected, &author).await?;

    let withdrawn = before.as_ref().map(|stored| stored.template.definition.as_str());
    let withdrawn = withdrawn.filter(|definition| *definition != template.definition);
    let mut records = Vec::new();
    if let Some(definition) = withdrawn
        && !is_used(&app, definition).await?
    {
        records.push(submit::record(&app, &caller, RecordBody::Template { definition, json: "" }));
    }
    let json = template.to_json().to_string();
    let in_force = RecordBody::Template { definition: &template.definition, json: &json };
    records.push(submit::record(&app, &caller, in_force));
    submit::batch(&app, records).await?;

    let mut response = if before.is_some() {
        respond::empty(StatusCode::NO_CONTENT)
    } else {
        let mut response = respond::empty(StatusCode::CREATED);
        respond::set_location(&mut response, uri.path());
        response
    };
    let created = before.as_ref().map_or(author.at, |stored| stored.created);
    respond::set_etag(&mut response, &etag(version, created));
    Ok(response)
}

/// Deletes a template and withdraws it; Things made from it stay.
#[utoipa::path(delete, path = "/api/v1/templates/{name}", tag = "templates",
    params(
        ("name" = String, Path, description = "The template's name"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be deleted, or `*`"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = target::segment_after(uri.path(), PREFIX)?;
    let store = &app.ports.store;
    let Some(before) = store.template(&name).await? else { return Err(missing(&name)) };
    let expected = expected(&headers, &name, Some(&before))?;
    store.delete_template(&name, expected, &submit::author(&app, &caller)).await?;
    let definition = &before.template.definition;
    if !is_used(&app, definition).await? {
        let record = submit::record(&app, &caller, RecordBody::Template { definition, json: "" });
        submit::batch(&app, vec![record]).await?;
    }
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Whether a stored template still has this definition.
async fn is_used(app: &App, definition: &str) -> Result<bool, ApiError> {
    let mut request = PageRequest::first(egiz_store::MAX_PAGE_ITEMS);
    loop {
        let page = app.ports.store.list_templates(request).await?;
        if page.items.iter().any(|stored| stored.template.definition == definition) {
            return Ok(true);
        }
        let Some(next) = page.next else { return Ok(false) };
        request = PageRequest::after(next, egiz_store::MAX_PAGE_ITEMS);
    }
}

/// Decides the preconditions and says which version the write is to find, so that nobody slips in between.
fn expected(headers: &HeaderMap, name: &str, before: Option<&StoredTemplate>) -> Result<Expected, ApiError> {
    let conditional = headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH);
    match before {
        Some(stored) if conditional => match decide_read(headers, &etag(stored.version, stored.created))? {
            ReadVerdict::Proceed => Ok(Expected::Version(stored.version)),
            ReadVerdict::IfMatchFailed => Err(conflict(name, stored.version)),
            ReadVerdict::NotModified => {
                Err(Problem::new(Code::IfNoneMatchFailed, format!("template {name} exists"))
                    .revision(Some(stored.version))
                    .into())
            }
        },
        None if headers.contains_key(IF_MATCH) => {
            decide_read(headers, "\"\"")?;
            Err(ApiError::new(Code::IfMatchFailed, format!("there is no template {name}")))
        }
        None if conditional => {
            decide_read(headers, "\"\"")?;
            Ok(Expected::Absent)
        }
        _ => Ok(Expected::Anything),
    }
}

fn shown(stored: &StoredTemplate) -> Value {
    let mut value = stored.template.to_json();
    value["_version"] = stored.version.into();
    value["_created"] = stored.created.to_string().into();
    value["_modified"] = stored.modified.to_string().into();
    value
}

/// The moment of creation tells a template from one of the same name that was deleted before.
fn etag(version: u64, created: Timestamp) -> String {
    format!("\"rev:{version}@{}\"", created.as_micros())
}

fn missing(name: &str) -> ApiError {
    let name: String = name.chars().take(120).collect();
    ApiError::new(Code::EntryNotFound, format!("there is no template `{name}`"))
}

fn conflict(name: &str, version: u64) -> ApiError {
    Problem::new(Code::IfMatchFailed, format!("template {name} has version {version} now"))
        .revision(Some(version))
        .into()
}
