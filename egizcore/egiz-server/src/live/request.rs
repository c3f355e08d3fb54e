//! What clients ask for, as text frames: read strictly, answered with the id they came with.

use std::time::Duration;

use egiz_api::live::Acknowledgement;
use egiz_api::{Code, Problem};
use egiz_model::record::{Preconditions, WriteOperation};
use egiz_model::{Offset, ThingId};
use egiz_twin::Filter;
use egiz_twin::interest::Target;
use serde_json::{Map, Value};

use super::acks;
use super::mailbox::Mode;
use super::playback;
use crate::body::json;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::query::{self, PageRequest};
use crate::{page, target};

/// What a client may ask for.
const ACTIONS: &str = "subscribe, unsubscribe, search, request, cancel, play, pause, resume, speed, seek, step, stop, declare, ack, \
     ping, put, merge and delete";
/// The most pages that one command asks for.
const PAGES_MAX: u32 = 10_000;

/// How a subscription is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Events,
    Columns,
    BinaryColumns,
}

/// A subscription as asked for.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) target: Target,
    pub(crate) format: Format,
    pub(crate) mode: Mode,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) from: Option<Offset>,
    pub(crate) snapshot: bool,
    pub(crate) tick_ms: u64,
}

/// A change to a Thing as asked for.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) thing: String,
    pub(crate) operation: WriteOperation,
    pub(crate) path: String,
    pub(crate) value: Value,
    pub(crate) if_match: String,
    pub(crate) if_none_match: String,
    pub(crate) condition: String,
    pub(crate) correlation: Option<String>,
    /// Whose acknowledgements the answer waits for, and how long.
    pub(crate) acknowledgements: Vec<String>,
    pub(crate) patience: Duration,
}

impl Write {
    /// As a record takes them.
    pub(crate) fn preconditions(&self) -> Preconditions<'_> {
        Preconditions {
            if_match: &self.if_match,
            if_none_match: &self.if_none_match,
            condition: &self.condition,
        }
    }
}

/// A command.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe(Box<Subscribe>),
    Unsubscribe(u32),
    Search(Box<PageRequest>),
    Request { search: u32, pages: u32 },
    Cancel(u32),
    Playback(playback::Command),
    Declare(Vec<String>),
    Acknowledge(u64, Acknowledgement),
    Ping,
    Write(Box<Write>),
}

/// Reads a frame: the id it came with, and the command or what is wrong with it. A value in it may have `depth_max` levels.
pub(crate) fn read(
    text: &str,
    depth_max: usize,
    sites: &[String],
) -> (Option<Value>, Result<Command, ApiError>) {
    // The command is a level of its own.
    let checked = json::check(text.as_bytes(), depth_max + 1);
    let members = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(members)) => members,
        other => {
            let problem = ApiError::new(Code::MalformedRequest, "a command is a JSON object");
            return (
                None,
                Err(checked.err().unwrap_or(if other.is_ok() {
                    problem
                } else {
                    ApiError::new(Code::MalformedJson, "the frame is not JSON")
                })),
            );
        }
    };
    let id = match members.get("id") {
        None | Some(Value::Null) => None,
        Some(id @ (Value::String(_) | Value::Number(_))) => Some(id.clone()),
        Some(_) => return (None, Err(refused("id", "it is no text and no number"))),
    };
    (id, checked.and_then(|()| command(&members, sites)))
}

fn command(members: &Map<String, Value>, sites: &[String]) -> Result<Command, ApiError> {
    let action = text(members, "action")?
        .ok_or_else(|| refused("action", &format!("it is missing; allowed are {ACTIONS}")))?;
    let known: &[&str] = match action {
        "subscribe" => {
            &["thingId", "thingIds", "filter", "format", "mode", "fields", "from", "snapshot", "tickMs"]
        }
        "unsubscribe" => &["subscription"],
        "search" => &["filter", "fields", "sort", "limit", "cursor", "metadata"],
        "request" => &["search", "pages"],
        "cancel" => &["search"],
        "declare" => &["acks"],
        "ack" => &["ack", "status", "payload"],
        "ping" => &[],
        "put" | "merge" | "delete" => &[
            "thingId",
            "path",
            "value",
            "ifMatch",
            "ifNoneMatch",
            "condition",
            "correlationId",
            "requestedAcks",
            "timeoutMs",
        ],
        other => playback::members_of(other)
            .ok_or_else(|| refused("action", &format!("`{other}` is not known; allowed are {ACTIONS}")))?,
    };
    let stranger =
        members.keys().find(|name| !known.contains(&name.as_str()) && *name != "id" && *name != "action");
    if let Some(stranger) = stranger {
        let allowed = [&["id", "action"], known].concat().join(", ");
        return Err(refused(stranger, &format!("it is not a member of `{action}`; allowed are {allowed}")));
    }
    Ok(match action {
        "subscribe" => Command::Subscribe(Box::new(subscribe(members, sites)?)),
        "unsubscribe" => Command::Unsubscribe(numbered(members, "subscription")?),
        "search" => Command::Search(Box::new(search(members)?)),
        "request" => {
            let search = numbered(members, "search")?;
            let pages = number(members, "pages")?.unwrap_or(1);
            let pages = u32::try_from(pages).ok().filter(|pages| (1..=PAGES_MAX).contains(pages));
            let pages = pages.ok_or_else(|| refused("pages", &format!("allowed are 1 to {PAGES_MAX}")))?;
            Command::Request { search, pages }
        }
        "cancel" => Command::Cancel(numbered(members, "search")?),
        "declare" => {
            let labels = labels(members, "acks")?;
            if labels.is_empty() {
                return Err(refused("acks", "it is no array of labels"));
            }
            Command::Declare(labels)
        }
        "ack" => {
            let ack = number(members, "ack")?.ok_or_else(|| refused("ack", "it is missing"))?;
            let status = number(members, "status")?.unwrap_or(200);
            let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
            let status = status.ok_or_else(|| refused("status", "allowed are 200 to 599"))?;
            Command::Acknowledge(ack, Acknowledgement { status, payload: members.get("payload").cloned() })
        }
        "ping" => Command::Ping,
        _ if playback::members_of(action).is_some() => {
            Command::Playback(playback::read(action, members, sites)?)
        }
        _ => Command::Write(Box::new(Write {
            thing: target::thing_id(
                text(members, "thingId")?.ok_or_else(|| refused("thingId", "it is missing"))?,
                sites,
            )?,
            operation: match action {
                "put" => WriteOperation::Put,
                "merge" => WriteOperation::Merge,
                _ => WriteOperation::Delete,
            },
            path: text(members, "path")?.unwrap_or_default().to_owned(),
            // What is missing is not taken for null.
            value: match members.get("value") {
                None if action != "delete" => return Err(refused("value", "it is missing")),
                value => value.cloned().unwrap_or_default(),
            },
            if_match: text(members, "ifMatch")?.unwrap_or_default().to_owned(),
            if_none_match: text(members, "ifNoneMatch")?.unwrap_or_default().to_owned(),
            condition: text(members, "condition")?.unwrap_or_default().to_owned(),
            correlation: text(members, "correlationId")?.map(str::to_owned),
            acknowledgements: of_write(labels(members, "requestedAcks")?)?,
            patience: patience(members)?,
        })),
    })
}

/// An array of labels; none where it is missing.
fn labels(members: &Map<String, Value>, name: &str) -> Result<Vec<String>, ApiError> {
    let Some(labels) = members.get(name) else { return Ok(Vec::new()) };
    let labels = labels.as_array().ok_or_else(|| refused(name, "it is no array of labels"))?;
    let label = |label: &Value| {
        let label = label.as_str().ok_or_else(|| refused(name, "it is no array of labels"))?;
        acks::check_label(label).map_err(|reason| refused(name, &reason))?;
        Ok(label.to_owned())
    };
    labels.iter().map(label).collect()
}

/// The labels that a write waits for, without those that every answer stands for.
fn of_write(mut labels: Vec<String>) -> Result<Vec<String>, ApiError> {
    labels.retain(|label| !acks::BUILT_IN.contains(&label.as_str()));
    labels.sort_unstable();
    labels.dedup();
    if labels.len() > acks::LABELS_PER_WRITE {
        return Err(refused("requestedAcks", &format!("at most {} labels", acks::LABELS_PER_WRITE)));
    }
    Ok(labels)
}

fn patience(members: &Map<String, Value>) -> Result<Duration, ApiError> {
    let patience_ms = number(members, "timeoutMs")?.unwrap_or(5_000);
    if !(1..=60_000).contains(&patience_ms) {
        return Err(refused("timeoutMs", "allowed are 1 to 60000"));
    }
    Ok(Duration::from_millis(patience_ms))
}

fn search(members: &Map<String, Value>) -> Result<PageRequest, ApiError> {
    Ok(PageRequest {
        filter: members.get("filter").map(query::filter_of).transpose()?.flatten(),
        sort: query::sort_of(text(members, "sort")?.unwrap_or_default())?,
        fields: text(members, "fields")?.map(Fields::parse).transpose()?,
        limit: page::limit(number(members, "limit")?)?,
        cursor: text(members, "cursor")?.map(str::to_owned),
        with_metadata: truth(members, "metadata")?.unwrap_or(false),
    })
}

fn subscribe(members: &Map<String, Value>, sites: &[String]) -> Result<Subscribe, ApiError> {
    let format = match text(members, "format")?.unwrap_or("events") {
        "events" => Format::Events,
        "columns" => Format::Columns,
        "columns-binary" => Format::BinaryColumns,
        other => {
            return Err(refused(
                "format",
                &format!("`{other}` is not known; allowed are events, columns and columns-binary"),
            ));
        }
    };
    let mode = match (text(members, "mode")?.unwrap_or("conflate"), format) {
        ("conflate", Format::Events) => Mode::Conflate,
        ("conflate", _) => Mode::Newest,
        ("lossless", Format::Events) => Mode::Lossless,
        ("lossless", _) => {
            return Err(refused("mode", "columns show the newest values only; lossless goes with events"));
        }
        (other, _) => {
            return Err(refused(
                "mode",
                &format!("`{other}` is not known; allowed are conflate and lossless"),
            ));
        }
    };
    let snapshot = truth(members, "snapshot")?.unwrap_or(true);
    let tick_ms = number(members, "tickMs")?.unwrap_or(100);
    if !(50..=5000).contains(&tick_ms) {
        return Err(refused("tickMs", &format!("{tick_ms} is out of range; allowed are 50 to 5000")));
    }
    Ok(Subscribe {
        target: target_of(members, sites)?,
        format,
        mode,
        features: features(text(members, "fields")?),
        from: number(members, "from")?,
        snapshot,
        tick_ms,
    })
}

pub(super) fn target_of(members: &Map<String, Value>, sites: &[String]) -> Result<Target, ApiError> {
    let one = |name: &Value| -> Result<ThingId, ApiError> {
        let name = name.as_str().ok_or_else(|| refused("thingId", "it is no text"))?;
        let id = target::thing_id(name, sites)?;
        ThingId::new(&id).map_err(|error| ApiError::new(Code::InvalidThingId, error.to_string()))
    };
    match (members.get("thingId"), members.get("thingIds"), members.get("filter")) {
        (None, None, None) => Ok(Target::All),
        (Some(thing), None, None) => Ok(Target::Things(vec![one(thing)?])),
        (None, Some(Value::Array(things)), None) if (1..=1000).contains(&things.len()) => {
            Ok(Target::Things(things.iter().map(one).collect::<Result<_, _>>()?))
        }
        (None, Some(_), None) => Err(refused("thingIds", "it is no array of 1 to 1000 ids")),
        (None, None, Some(filter)) => {
            let filter = match filter {
                Value::String(text) => Filter::parse(text),
                simple => Filter::from_simple(simple),
            };
            Ok(Target::Filter(filter.map_err(|error| ApiError::from(&error))?))
        }
        _ => Err(refused("filter", "at most one of thingId, thingIds and filter is allowed")),
    }
}

/// `thermal,electrical` as names; `None` for all.
pub(crate) fn features(fields: Option<&str>) -> Option<Vec<String>> {
    let names: Vec<String> =
        fields?.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}

pub(super) fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, ApiError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refused(name, "it is no text")),
    }
}

pub(super) fn number(members: &Map<String, Value>, name: &str) -> Result<Option<u64>, ApiError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| refused(name, "it is no whole number from 0")),
    }
}

pub(super) fn truth(members: &Map<String, Value>, name: &str) -> Result<Option<bool>, ApiError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(refused(name, "it is no truth value")),
    }
}

/// The number of a subscription, a search or a playback, which must be there.
pub(super) fn numbered(members: &Map<String, Value>, name: &str) -> Result<u32, ApiError> {
    let number = number(members, name)?.ok_or_else(|| refused(name, "it is missing"))?;
    u32::try_from(number).map_err(|_| refused(name, &format!("it is no {name}'s number")))
}

/// The `malformed-request` problem for one member.
pub(crate) fn refused(member: &str, reason: &str) -> ApiError {
    let mut pointer = String::new();
    json::push_token(&mut pointer, member);
    Problem::new(Code::MalformedRequest, format!("`{member}`: {reason}")).at(pointer, reason).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let (_, command) = read(text, 32, &["factory".to_owned()]);
        let shown = match command {
            Ok(command) => format!("{command:?}"),
            Err(error) => format!("{}: {}", error.0.code, error.0.detail),
        };
        assert!(shown.contains(expected), "{text}: {shown}");
    }

    #[test]
    fn the_product_documents_messages_are_understood() {
        check(r#"{"action":"subscribe","thingId":"factory:oven-001"}"#, "Things([\"factory:oven-001\"])");
        check(r#"{"action":"subscribe","thingId":"oven-001"}"#, "Things([\"factory:oven-001\"])");
        check(r#"{"action":"subscribe","filter":{"type":"oven"}}"#, "Filter(");
        check(r#"{"action":"subscribe"}"#, "All");
    }

    #[test]
    fn what_is_wrong_names_the_member_and_what_is_allowed() {
        check("{", "malformed-json: line 1, column 1");
        check("5", "a command is a JSON object");
        check("{}", "`action`: it is missing; allowed are subscribe");
        check(r#"{"action":"fly"}"#, "`fly` is not known");
        check(r#"{"action":"subscribe","thingID":"x"}"#, "`thingID`: it is not a member of `subscribe`");
        check(r#"{"action":"subscribe","format":"xml"}"#, "allowed are events, columns");
        check(r#"{"action":"subscribe","tickMs":7}"#, "50 to 5000");
        check(r#"{"action":"subscribe","filter":"eq("}"#, "malformed-filter");
        check(r#"{"action":"subscribe","thingId":"a b"}"#, "invalid-thing-id");
        check(r#"{"action":"subscribe","thingId":"a","filter":{}}"#, "at most one");
        check(r#"{"action":"subscribe","format":"columns","mode":"lossless"}"#, "lossless goes with events");
        check(r#"{"action":"unsubscribe"}"#, "`subscription`: it is missing");
        check(r#"{"action":"ping","x":1}"#, "`x`: it is not a member of `ping`; allowed are id, action");
        check(r#"{"id":[1],"action":"ping"}"#, "`id`: it is no text and no number");
        check(
            r#"{"action":"search","thingId":"a"}"#,
            "`thingId`: it is not a member of `search`; allowed are id",
        );
        check(r#"{"action":"search","limit":500}"#, "page-too-large");
        check(r#"{"action":"search","sort":"a"}"#, "`a` is no path");
        check(r#"{"action":"request"}"#, "`search`: it is missing");
        check(r#"{"action":"request","search":1,"pages":0}"#, "`pages`: allowed are 1 to 10000");
        check(r#"{"action":"cancel","search":-1}"#, "`search`: it is no whole number");
        check(r#"{"action":"put"}"#, "`thingId`: it is missing");
        check(r#"{"action":"put","thingId":"a"}"#, "`value`: it is missing");
    }

    #[test]
    fn the_member_at_fault_is_named_by_a_pointer_too() {
        for (text, pointer) in [
            (r#"{"action":"subscribe","thingID":"x"}"#, "/thingID"),
            (r#"{"action":"subscribe","a/b":"x"}"#, "/a~1b"),
            (r#"{"action":"put","thingId":"a","value":{"b":1,"b":2}}"#, "/value/b"),
        ] {
            let (_, command) = read(text, 32, &["factory".to_owned()]);
            let problem = command.expect_err("refused").0;
            assert_eq!(problem.errors[0].pointer.as_deref(), Some(pointer), "{text}");
        }
    }

    #[test]
    fn a_value_is_held_to_the_rules_of_a_body() {
        let put = |value: &str| format!(r#"{{"id":7,"action":"put","thingId":"a","value":{value}}}"#);
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        check(&put(&nested(32)), "Put");
        check(&put(&nested(33)), "json-too-deep");
        check(&put(&nested(5000)), "json-too-deep");
        check(&put(r#"{"a":1,"a":2}"#), "duplicate-key");
        let (id, _) = read(&put(r#"{"a":1,"a":2}"#), 32, &[]);
        assert_eq!(id, Some(7.into()), "who sent it is told which command it was");
    }
}
