//! EgizVision's files, embedded at build time and served at `/`.
//!
//! A file with a hash in its name never changes and is cached for ever; the others are asked for again each time, which
//! their entity tag makes cheap. A path without a file is a page of the application and answers `index.html`.

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use egiz_api::Code;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::conditional::{ReadVerdict, decide_read};
use crate::error::ApiError;
use crate::respond;

#[derive(RustEmbed)]
#[folder = "../../egizvision/dist/"]
struct Files;

/// Answers every path that no route knows.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    let path = uri.path();
    let is_ours = path.starts_with("/api/") || path == "/api" || path.starts_with("/health");
    if is_ours || !matches!(method, Method::GET | Method::HEAD) {
        return Err(no_route(path));
    }
    let name = percent_encoding::percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    let name = if name.is_empty() { "index.html" } else { &*name };
    let gzip = accepts_gzip(&headers);
    if let Some(response) = find(name, gzip, &headers)? {
        return Ok(response);
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    if !last.contains('.')
        && let Some(response) = find("index.html", gzip, &headers)?
    {
        return Ok(response);
    }
    Err(no_route(path))
}

fn find(name: &str, gzip: bool, headers: &HeaderMap) -> Result<Option<Response>, ApiError> {
    // The compressed twin of a file is no file of its own.
    if name.ends_with(".gz") {
        return Ok(None);
    }
    let packed = if gzip { Files::get(&format!("{name}.gz")) } else { None };
    let is_packed = packed.is_some();
    let Some(file) = packed.or_else(|| Files::get(name)) else { return Ok(None) };
    answer(name, file, is_packed, headers).map(Some)
}

fn answer(
    name: &str,
    file: EmbeddedFile,
    is_packed: bool,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let hash = file.metadata.sha256_hash();
    let etag = format!("\"{}\"", hash[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut response = match decide_read(headers, &etag)? {
        ReadVerdict::Proceed => Response::new(Body::from(file.data.into_owned())),
        ReadVerdict::NotModified => respond::empty(StatusCode::NOT_MODIFIED),
        ReadVerdict::IfMatchFailed => {
            return Err(ApiError::new(Code::IfMatchFailed, "the file is another one now"));
        }
    };
    let fields = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&etag) {
        fields.insert(ETAG, value);
    }
    fields.insert(CONTENT_TYPE, media_type(name));
    fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_packed {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let caching = if has_hash(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(response)
}

/// The media types that a web client is made of; the rest is bytes.
fn media_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "wasm" => "application/wasm",
        "glb" => "model/gltf-binary",
        "gltf" => "model/gltf+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

/// Whether a bundler named the file after its content: `assets/<name>-<8 or more letters>.<ending>`.
fn has_hash(name: &str) -> bool {
    let Some(file) = name.strip_prefix("assets/") else { return false };
    let Some((stem, _)) = file.split_once('.') else { return false };
    stem.rsplit_once('-').is_some_and(|(before, hash)| {
        !before.is_empty()
            && hash.len() >= 8
            && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && hash.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts.next() == Some("gzip")
                && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

fn no_route(path: &str) -> ApiError {
    let path: String = path.chars().take(200).collect();
    ApiError::new(Code::RouteNotFound, format!("there is no route {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_name_is_told_from_a_plain_one() {
        assert!(has_hash("assets/index-BkQx3f9a.js"));
        assert!(has_hash("assets/worker-decode-DZ91_abc.js.map"));
        assert!(!has_hash("index.html"));
        assert!(!has_hash("assets/tunnel-oven.glb"));
        assert!(!has_hash("assets/line-conveyor.glb"));
    }

    #[test]
    fn gzip_is_taken_unless_refused() {
        let check = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        assert!(check("gzip, deflate, br"));
        assert!(check("br;q=1.0, gzip;q=0.8"));
        assert!(!check("gzip;q=0, br"));
        assert!(!check("br"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
