//! API tokens: made, listed, switched off and deleted over HTTP. A token's text is in the answer that makes it and nowhere
//! else; a change holds from the next request on, and what the token has opened is closed.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{ApiToken, ApiTokenChange, ApiTokenPage, MadeApiToken, NewApiToken, Problem, TokenRole};
use egiz_store::{PageRequest, Role};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{NoParams, Params};
use crate::{body, cursor, page, respond, submit, target};

const PREFIX: &str = "/api/v1/tokens/";

/// The tokens by name, without their texts.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = ApiTokenPage),
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
    let question = ["tokens", &*caller.principal];
    let after = params.get("cursor").map(|text| cursor::open_text(key, &question, text)).transpose()?;
    let stored = app.ports.store.list_api_tokens(PageRequest { after, limit }).await?;
    let page = ApiTokenPage {
        items: stored.items.into_iter().map(shown).collect(),
        cursor: stored.next.map(|next| cursor::seal_text(key, &question, &next)),
    };
    Ok(respond::json(StatusCode::OK, &page))
}

/// Makes a token; its text is shown this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = NewApiToken,
    responses(
        (status = 201, description = "The token with its text", body = MadeApiToken),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let new: NewApiToken = body::read_json(&headers, content, &app.ports.settings).await?;
    let role = stored_role(new.role);
    let secret = app.ports.store.create_api_token(&new.name, role, &submit::author(&app, &caller)).await?;
    tracing::info!(token = new.name, %role, by = &*caller.principal, correlation_id = &*caller.correlation, "an API token was made");
    let location = format!("{PREFIX}{}", new.name);
    let made = MadeApiToken { name: new.name, role: new.role, token: secret.expose().to_owned() };
    let mut response = respond::json(StatusCode::CREATED, &made);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::set_location(&mut response, &location);
    Ok(response)
}

/// One token, without its text.
#[utoipa::path(get, path = "/api/v1/tokens/{name}", tag = "access",
    params(("name" = String, Path, description = "The token's name")),
    responses(
        (status = 200, description = "The token", body = ApiToken),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(State(app): State<App>, _: NoParams, uri: Uri) -> Result<Response, ApiError> {
    let token = app.ports.store.api_token(&name_in(&uri)?).await?;
    Ok(respond::json(StatusCode::OK, &shown(token)))
}

/// Switches a token off, or on again.
#[utoipa::path(patch, path = "/api/v1/tokens/{name}", tag = "access", request_body = ApiTokenChange,
    params(("name" = String, Path, description = "The token's name")),
    responses(
        (status = 204, description = "Done; it holds from the next request on"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn change(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let name = name_in(&uri)?;
    let change: ApiTokenChange = match body::media_type(&headers).as_deref() {
        None | Some("application/json" | "application/merge-patch+json") => {
            let content = body::read(&headers, content, &app.ports.settings).await?;
            body::parse(&content, &app.ports.settings)?
        }
        Some(other) => return Err(body::unsupported(other, "application/merge-patch+json")),
    };
    app.ports.store.enable_api_token(&name, change.enabled, &submit::author(&app, &caller)).await?;
    tracing::info!(
        token = name,
        enabled = change.enabled,
        by = &*caller.principal,
        correlation_id = &*caller.correlation,
        "an API token was switched"
    );
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Deletes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "access",
    params(("name" = String, Path, description = "The token's name")),
    responses(
        (status = 204, description = "Deleted; it holds from the next request on"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let name = name_in(&uri)?;
    app.ports.store.delete_api_token(&name, &submit::author(&app, &caller)).await?;
    tracing::info!(
        token = name,
        by = &*caller.principal,
        correlation_id = &*caller.correlation,
        "an API token was deleted"
    );
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// The name, short enough to be repeated in an answer.
fn name_in(uri: &Uri) -> Result<String, ApiError> {
    Ok(target::segment_after(uri.path(), PREFIX)?.chars().take(129).collect())
}

fn shown(token: egiz_store::ApiToken) -> ApiToken {
    let role = match token.role {
        Role::Viewer => TokenRole::Viewer,
        Role::Operator => TokenRole::Operator,
        Role::Service => TokenRole::Service,
        Role::Admin => TokenRole::Admin,
    };
    ApiToken { name: token.name, role, enabled: token.enabled, created: token.created }
}

fn stored_role(role: TokenRole) -> Role {
    match role {
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Operator => Role::Operator,
        TokenRole::Service => Role::Service,
        TokenRole::Admin => Role::Admin,
    }
}
