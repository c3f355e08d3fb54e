//! What of a write's answer waits for others: `requested-acks`, `timeout` and `response-required`, as Eclipse Ditto's
//! clients know them, in header fields or parameters.

use std::time::Duration;

use axum::http::header::{ETAG, HeaderName, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::{Code, Problem};
use serde_json::json;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::live::acks::{About, BUILT_IN, LABELS_PER_WRITE, check_label};
use crate::params::{self, Params};
use crate::respond;
use crate::settings::ServerSettings;
use crate::target::Target;

/// How long is waited where nothing is said.
const DEFAULT: Duration = Duration::from_secs(5);
/// So much earlier than a request's time is over waiting ends, so that its result can be told.
const MARGIN: Duration = Duration::from_millis(500);

/// What an answer waits for.
#[derive(Debug)]
pub(crate) struct Wish {
    built_in: Vec<&'static str>,
    labels: Vec<String>,
    patience: Duration,
    wants_answer: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { built_in: Vec::new(), labels: Vec::new(), patience: DEFAULT, wants_answer: true }
    }
}

impl Wish {
    /// Reads what a request asks for.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub(crate) fn of(
        params: &Params,
        headers: &HeaderMap,
        settings: &ServerSettings,
    ) -> Result<Self, ApiError> {
        let mut wish = Self::default();
        let longest = longest(settings);
        wish.patience = wish.patience.min(longest);
        let labels = params.or_field(headers, "requested-acks")?.unwrap_or_default();
        let labels = labels.split([',', '[', ']', '"', ' ']).filter(|label| !label.is_empty());
        for label in labels {
            match BUILT_IN.iter().find(|name| **name == label) {
                Some(name) => wish.built_in.push(name),
                None => {
                    check_label(label).map_err(|reason| params::refused("requested-acks", &reason))?;
                    wish.labels.push(label.to_owned());
                }
            }
        }
        wish.labels.sort_unstable();
        wish.labels.dedup();
        if wish.labels.len() > LABELS_PER_WRITE {
            let reason = format!("at most {LABELS_PER_WRITE} labels");
            return Err(Problem::new(
                Code::InvalidParameter,
                format!("parameter `requested-acks`: {reason}"),
            )
            .in_parameter("requested-acks", reason)
            .limit(LABELS_PER_WRITE as u64)
            .into());
        }
        wish.wants_answer = match params.or_field(headers, "response-required")? {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(params::refused("response-required", "it must be true or false")),
        };
        if let Some(text) = params.or_field(headers, "timeout")? {
            let patience = duration(text).filter(|patience| *patience <= longest);
            wish.patience = patience.ok_or_else(|| {
                let reason = format!(
                    "it must be a duration of at most {} ms, such as 250ms, 5s or 1m",
                    longest.as_millis()
                );
                params::refused("timeout", &reason)
            })?;
            if wish.patience.is_zero() && wish.wants_answer {
                return Err(params::refused(
                    "timeout",
                    "an answer cannot be waited for in no time; see response-required",
                ));
            }
        }
        Ok(wish)
    }

    /// Puts the answer to a write that is done off until others have acknowledged it.
    ///
    /// # Errors
    /// `acknowledgement-timeout`, `acknowledgement-failed`.
    pub(crate) async fn fulfil(
        &self,
        app: &App,
        caller: &Caller,
        target: &Target,
        response: Response,
    ) -> Result<Response, ApiError> {
        if self.wants_answer && self.labels.is_empty() {
            return Ok(response);
        }
        let revision = number(&response, &respond::REVISION);
        let about = About {
            thing: &target.thing,
            path: &target.pointer,
            revision,
            offset: number(&response, &respond::OFFSET),
            correlation: &caller.correlation,
        };
        let asked = app.ports.hub.acks().ask(&self.labels, &about);
        let found = asked.all(self.patience).await;
        let mut done = match found {
            _ if !self.wants_answer => respond::empty(StatusCode::ACCEPTED),
            Ok(mut found) => {
                for name in &self.built_in {
                    found.insert((*name).to_owned(), json!({ "status": response.status().as_u16() }));
                }
                respond::json(StatusCode::OK, &found)
            }
            Err(problem) => return Err(problem.revision(Some(revision)).into()),
        };
        for name in [ETAG, LOCATION, respond::REVISION, respond::OFFSET] {
            if let Some(value) = response.headers().get(&name) {
                done.headers_mut().insert(name, value.clone());
            }
        }
        Ok(done)
    }
}

/// A number in a field of an answer.
fn number(response: &Response, name: &HeaderName) -> u64 {
    let text = response.headers().get(name).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The longest time that a request may wait.
pub(crate) fn longest(settings: &ServerSettings) -> Duration {
    Duration::from_millis(settings.request_timeout_ms).saturating_sub(MARGIN)
}

/// `250ms`, `5s`, `1m`, or seconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}
