//! Errors as clients see them: RFC 9457 problem details with a stable `code`.
//!
//! The list of codes is closed and documented in `docs/api/errors.md` (a test holds the two together); a code, once
//! released, keeps its meaning and its status. The same object goes over HTTP and inside WebSocket answers. Nothing here
//! decides which error a failure is: that is `egiz-server::error`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the meaning of a code can be read; the code follows.
const TYPE_BASE: &str = "https://github.com/openegiz/openegiz/blob/main/docs/api/errors.md#";

/// The media type of a problem.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// The stable word for what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word in `code`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// The short text that is the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// The body or a line of it is not JSON; `detail` has line and column.
    MalformedJson = "malformed-json", 400, "The JSON cannot be read";
    /// The body is not UTF-8.
    InvalidUtf8 = "invalid-utf8", 400, "The text is not UTF-8";
    /// The JSON is nested deeper than `limit`.
    JsonTooDeep = "json-too-deep", 400, "The JSON is nested too deep";
    /// An object names the same member twice.
    DuplicateKey = "duplicate-key", 400, "A JSON object has the same member twice";
    /// A query parameter or a header has a value that is not allowed.
    InvalidParameter = "invalid-parameter", 400, "A parameter is not valid";
    /// The page asked for is larger than `limit`.
    PageTooLarge = "page-too-large", 400, "The page asked for is too large";
    /// The cursor was changed, or belongs to another filter, sort order or user.
    InvalidCursor = "invalid-cursor", 400, "The cursor is not valid for this request";
    /// The filter or condition cannot be read; `detail` has the position.
    MalformedFilter = "malformed-filter", 400, "The filter cannot be read";
    /// `If-Match` or `If-None-Match` holds something that is no entity tag.
    MalformedEntityTag = "malformed-entity-tag", 400, "An entity tag is malformed";
    /// The text is no Thing id.
    InvalidThingId = "invalid-thing-id", 400, "The Thing id is not valid";
    /// A value breaks the rules; `errors` names each place.
    InvalidValue = "invalid-value", 400, "A value is not valid";
    /// More history is asked for than one answer holds; `errors` names the parameter, `limit` the bound.
    HistoryTooLarge = "history-too-large", 400, "More history than one answer holds";
    /// The WebSocket command or HTTP request lacks something or asks for something unknown.
    MalformedRequest = "malformed-request", 400, "The request cannot be understood";
    /// A valid bearer token is needed.
    Unauthenticated = "unauthenticated", 401, "A valid token is needed";
    /// The role does not allow this.
    Forbidden = "forbidden", 403, "The role does not allow this";
    /// A page of another origin asked for a change.
    ForeignOrigin = "foreign-origin", 403, "Requests from this origin are not allowed";
    /// There is no such route.
    RouteNotFound = "route-not-found", 404, "There is no such route";
    /// There is no such Thing.
    ThingNotFound = "thing-not-found", 404, "There is no such Thing";
    /// The Thing has nothing at this path.
    PathNotFound = "path-not-found", 404, "The Thing has nothing at this path";
    /// No device of this id has been discovered.
    NotDiscovered = "not-discovered", 404, "No such device has been discovered";
    /// There is no such device, template or other entry of the registry.
    EntryNotFound = "entry-not-found", 404, "The registry has no such entry";
    /// This installation keeps no history.
    HistoryOff = "history-off", 404, "History is switched off";
    /// Nothing that is kept was said there, so there is nothing to correct.
    SampleNotFound = "sample-not-found", 404, "There is no sample to correct";
    /// This installation makes no backups.
    BackupsOff = "backups-off", 404, "No place for backups is configured";
    /// There is no backup of this id.
    BackupNotFound = "backup-not-found", 404, "There is no such backup";
    /// The route does not know this method; `Allow` lists those that it knows.
    MethodNotAllowed = "method-not-allowed", 405, "The route does not know this method";
    /// None of the media types in `Accept` can be given.
    NotAcceptable = "not-acceptable", 406, "None of the accepted media types can be given";
    /// The request's body did not arrive in time.
    RequestTimeout = "request-timeout", 408, "The request did not arrive in time";
    /// The write is done, and somebody who was to acknowledge it gave no answer in time; `acknowledgements` has each.
    AcknowledgementTimeout = "acknowledgement-timeout", 408, "A requested acknowledgement did not come in time";
    /// The Thing, device or other entry exists already.
    AlreadyExists = "already-exists", 409, "It exists already";
    /// A `test` of the JSON patch does not hold; `errors` names the place.
    PatchTestFailed = "patch-test-failed", 409, "A test of the JSON patch does not hold";
    /// An operation of the JSON patch needs something that is not there; `errors` names the place.
    PatchConflict = "patch-conflict", 409, "The JSON patch does not fit the state";
    /// A backup is being made already; `detail` names it.
    BackupUnderWay = "backup-under-way", 409, "A backup is being made";
    /// A configured number of Things or names is reached; `limit` has it.
    LimitReached = "limit-reached", 409, "A configured limit is reached";
    /// The first request with this `Idempotency-Key` is still under way.
    IdempotencyKeyInFlight = "idempotency-key-in-flight", 409, "The first request with this key is still under way";
    /// `If-Match` does not hold; `revision` is the current one.
    IfMatchFailed = "if-match-failed", 412, "If-Match does not hold";
    /// `If-None-Match` does not hold; `revision` is the current one.
    IfNoneMatchFailed = "if-none-match-failed", 412, "If-None-Match does not hold";
    /// `condition` does not hold.
    ConditionFailed = "condition-failed", 412, "The condition does not hold";
    /// `if-equal: skip` was asked for and nothing would change.
    Unchanged = "unchanged", 412, "Nothing would change";
    /// The body is larger than `limit` bytes.
    BodyTooLarge = "body-too-large", 413, "The body is too large";
    /// The Thing would become larger than `limit` bytes.
    ThingTooLarge = "thing-too-large", 413, "The Thing would become too large";
    /// The URL is longer than `limit` bytes.
    UriTooLong = "uri-too-long", 414, "The URL is too long";
    /// The body's media type is not one that the route takes.
    UnsupportedMediaType = "unsupported-media-type", 415, "The media type is not supported";
    /// The `Host` is not one that this server answers to.
    HostNotAllowed = "host-not-allowed", 421, "The server does not answer to this host name";
    /// This `Idempotency-Key` was sent before with another path or body.
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The key belongs to another request";
    /// The write is done, and somebody who was to acknowledge it did not; `acknowledgements` has each.
    AcknowledgementFailed = "acknowledgement-failed", 424, "A requested acknowledgement failed";
    /// The site is strict: a Thing that exists is changed only under a condition.
    PreconditionRequired = "precondition-required", 428, "The write needs a condition";
    /// The client sent more than its rate; `Retry-After` says when to go on.
    RateLimited = "rate-limited", 429, "Too many requests";
    /// The header fields are larger than `limit` bytes.
    HeadersTooLarge = "headers-too-large", 431, "The header fields are too large";
    /// A fault of the server; the log has it under `traceId`.
    Internal = "internal", 500, "The server failed";
    /// More requests are under way than the server takes at once.
    Overloaded = "overloaded", 503, "The server is at its limit";
    /// The queue of writes is full.
    Busy = "busy", 503, "Writes are queued up";
    /// The answer was not ready in time; a write may still be carried out.
    Timeout = "timeout", 503, "The answer was not ready in time";
    /// The state does not yet hold what was acknowledged before the read, or the offset that `min-offset` asks for.
    NotYetApplied = "not-yet-applied", 503, "The state is not that far yet";
    /// The server is stopping.
    ShuttingDown = "shutting-down", 503, "The server is stopping";
    /// A part that the request needs is out of order.
    Unavailable = "unavailable", 503, "A part of the server is out of order";
    /// The journal's disk is full; nothing is accepted until there is room.
    NoSpace = "no-space", 507, "There is no room to store the write";
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "https://github.com/openegiz/openegiz/blob/main/docs/api/errors.md#thing-not-found")]
    pub type_uri: String,
    /// What the code means, the same for every occurrence.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The path of the URL that was asked for; missing over WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/v1/things/factory:oven-001")]
    pub instance: Option<String>,
    /// The stable word to match on; `docs/api/errors.md` lists all.
    #[schema(example = "thing-not-found")]
    pub code: Cow<'static, str>,
    /// The places at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The limit that was hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The Thing's current revision, where a condition on it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When to try again, in seconds; also in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// What came of each acknowledgement that was asked for, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, crate::live::Acknowledgement>>)]
    pub acknowledgements: Option<serde_json::Map<String, serde_json::Value>>,
    /// The correlation id under which the log has this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// One place at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/features/thermal/properties")]
    pub pointer: Option<String>,
    /// The query parameter or header field, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong there and what is allowed.
    pub reason: String,
}

impl Problem {
    /// The problem with this code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("{TYPE_BASE}{}", code.as_str()),
            title: Cow::Borrowed(code.title()),
            status: code.status(),
            detail: detail.into(),
            instance: None,
            code: Cow::Borrowed(code.as_str()),
            errors: Vec::new(),
            limit: None,
            revision: None,
            retry_after_s: None,
            acknowledgements: None,
            trace_id: None,
        }
    }

    /// Names a place at fault.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            pointer: Some(pointer.into()),
            parameter: None,
            reason: reason.into(),
        });
        self
    }

    /// Names a query parameter or header field at fault.
    #[must_use]
    pub fn in_parameter(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: None, parameter: Some(name.into()), reason: reason.into() });
        self
    }

    /// Says which URL was asked for.
    #[must_use]
    pub fn instance(mut self, path: impl Into<String>) -> Self {
        self.instance = Some(path.into());
        self
    }

    /// Says which limit was hit.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says what came of each acknowledgement.
    #[must_use]
    pub fn acknowledgements(mut self, found: serde_json::Map<String, serde_json::Value>) -> Self {
        self.acknowledgements = Some(found);
        self
    }

    /// Says the current revision.
    #[must_use]
    pub fn revision(mut self, revision: Option<u64>) -> Self {
        self.revision = revision;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Puts the request's correlation id in.
    #[must_use]
    pub fn trace(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_words() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|word| {
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        }));
    }

    #[test]
    fn the_documentation_lists_exactly_the_codes() {
        let text = include_str!("../../../docs/api/errors.md");
        let listed: Vec<(&str, u16)> = text
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| <a id=\"")?.split('|');
                let (code, _) = cells.next()?.split_once('"')?;
                Some((code, cells.next()?.trim().parse().ok()?))
            })
            .collect();
        let wanted: Vec<(&str, u16)> = Code::ALL.iter().map(|code| (code.as_str(), code.status())).collect();
        assert_eq!(listed, wanted);
    }

    #[test]
    fn a_problem_carries_only_what_is_known() {
        let problem = Problem::new(Code::ThingNotFound, "factory:x is not known");
        let json = serde_json::to_value(&problem).expect("a problem is JSON");
        let mut members: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        members.sort();
        assert_eq!(members, ["code", "detail", "status", "title", "type"]);
    }
}
