//! `POST /things/bulk`: the same change to every Thing that matches, with a dry run and a result an item.
//!
//! The ids that match now are collected first; each is then changed by a record of its own, under the condition that it
//! still matches. So nothing is changed that does not match, whatever happens meanwhile, and no lock is held.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use egiz_api::{BulkRequest, Code, Difference, ItemOutcome, ItemResult, Problem, Summary};
use egiz_model::record::{Body as RecordBody, Preconditions, ThingWrite, WriteOperation};
use egiz_twin::{Engine, Filter};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::body::json::push_token;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::fields::Shown;
use crate::outflow;
use crate::params::NoParams;
use crate::things::import::{self, LastLine, Steps, push_line};
use crate::{body, min_offset, present, query, submit};

/// How many Things are changed at once.
const BATCH_ITEMS: usize = 128;
/// The most differences shown for one Thing in a dry run.
const DIFFERENCES_MAX: usize = 100;
/// How many ids are collected at once.
const SEARCH_PAGE: usize = 200;

/// Changes or deletes every Thing that matches; with `dryRun` only says what would happen.
#[utoipa::path(post, path = "/api/v1/things/bulk", tag = "bulk", request_body = BulkRequest,
    responses(
        (status = 200, description = "A result a Thing, at last the summary", body = ItemResult, content_type = "application/x-ndjson"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn bulk(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let request: BulkRequest = body::read_json(&headers, content, &app.ports.settings).await?;
    let operation = match (&request.patch, request.delete) {
        (Some(Value::Object(_)), false) => WriteOperation::Merge,
        (None, true) => WriteOperation::Delete,
        (Some(_), false) => {
            return Err(Problem::new(Code::InvalidValue, "`patch` is not an object")
                .at("/patch", "a merge patch, an object")
                .into());
        }
        _ => {
            return Err(Problem::new(Code::InvalidValue, "exactly one of `patch` and `delete` is needed")
                .at("", "either `patch` with an object or `delete` with true")
                .into());
        }
    };
    if request.filter.is_null() {
        let reason = "a filter is needed; {} stands for all Things";
        return Err(Problem::new(Code::InvalidValue, reason).at("/filter", reason).into());
    }
    let filter = query::filter_of(&request.filter)?;
    let permit = outflow::permit(&app)?;
    let pause = Duration::from_millis(app.ports.settings.stream_pause_ms);
    let condition = filter.as_ref().map(ToString::to_string).unwrap_or_default();
    min_offset::wait_for_acknowledged(&app.ports).await?;
    let mut ids = query::on_engine(&app, move |engine| matching(engine, filter)).await??;
    ids.reverse();
    let bulk = Bulk {
        app,
        caller,
        operation,
        patch: request.patch.unwrap_or(Value::Null),
        condition,
        dry_run: request.dry_run,
        ids,
        summary: Summary::default(),
        finished: false,
        _permit: permit,
    };
    Ok(import::ndjson(bulk, pause))
}

/// The ids that match now, in their order.
fn matching(engine: &Engine, filter: Option<Filter>) -> Result<Vec<String>, ApiError> {
    let mut ids = Vec::new();
    let mut query = egiz_twin::Query { filter, sort: Vec::new(), after: None, limit: SEARCH_PAGE };
    loop {
        let page = engine.search(&query).map_err(|error| ApiError::from(&error))?;
        ids.extend(
            page.slots.iter().filter_map(|slot| engine.thing_at(*slot)).map(|thing| thing.id().to_string()),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(ids),
        }
    }
}

struct Bulk {
    app: App,
    caller: Caller,
    operation: WriteOperation,
    patch: Value,
    condition: String,
    dry_run: bool,
    /// Those still to do, the next one last.
    ids: Vec<String>,
    summary: Summary,
    finished: bool,
    _permit: OwnedSemaphorePermit,
}

impl Steps for Bulk {
    /// Carries out the next batch; `None` after the summary.
    async fn step(&mut self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let rest = self.ids.len().saturating_sub(BATCH_ITEMS);
        let mut batch = self.ids.split_off(rest);
        batch.reverse();
        let (mut results, failed) =
            if self.dry_run { (self.predict(batch), false) } else { self.carry_out(batch).await };
        let mut out = Vec::new();
        for result in &mut results {
            if let Some(problem) = &mut result.problem {
                problem.trace_id = Some(self.caller.correlation.to_string());
            }
            import::count(&mut self.summary, result.outcome);
            push_line(&mut out, result);
        }
        if failed || self.ids.is_empty() {
            self.finished = true;
            self.summary.complete = !failed;
            push_line(&mut out, &LastLine { summary: self.summary });
        }
        Some(out)
    }
}

impl Bulk {
    async fn carry_out(&self, ids: Vec<String>) -> (Vec<ItemResult>, bool) {
        let content =
            if self.operation == WriteOperation::Merge { self.patch.to_string() } else { String::new() };
        let records = ids
            .iter()
            .map(|thing| {
                let write = ThingWrite {
                    thing,
                    operation: self.operation,
                    path: "",
                    content: content.as_bytes(),
                    // It must still be there, and still match.
                    preconditions: Preconditions {
                        if_match: "*",
                        if_none_match: "",
                        condition: &self.condition,
                    },
                };
                submit::record(&self.app, &self.caller, RecordBody::ThingWrite(write))
            })
            .collect();
        let mut results: Vec<ItemResult> = ids.into_iter().map(|id| item(id, ItemOutcome::Refused)).collect();
        if results.is_empty() {
            return (results, false);
        }
        match submit::batch(&self.app, records).await {
            Ok(applied) => {
                for (result, applied) in results.iter_mut().zip(applied) {
                    import::settle(result, applied);
                }
                (results, false)
            }
            Err(error) => {
                for result in &mut results {
                    result.problem = Some((*error.0).clone());
                }
                (results, true)
            }
        }
    }

    fn predict(&self, ids: Vec<String>) -> Vec<ItemResult> {
        let engine = self.app.ports.engine.read();
        ids.into_iter()
            .filter_map(|id| {
                let thing = engine.thing(&id)?;
                if self.operation == WriteOperation::Delete {
                    return Some(item(id, ItemOutcome::WouldDelete));
                }
                let mut text = Vec::new();
                present::thing(&mut text, &thing, &Shown::Everything, false);
                let now: Value = serde_json::from_slice(&text).unwrap_or_default();
                let mut changes = Vec::new();
                differences(&mut String::new(), Some(&now), &self.patch, &mut changes);
                let outcome =
                    if changes.is_empty() { ItemOutcome::Unchanged } else { ItemOutcome::WouldChange };
                let mut result = item(id, outcome);
                result.revision = Some(thing.revision());
                result.changes = changes;
                Some(result)
            })
            .collect()
    }
}

fn item(id: String, outcome: ItemOutcome) -> ItemResult {
    ItemResult {
        line: None,
        thing_id: Some(id),
        outcome,
        revision: None,
        offset: None,
        changes: Vec::new(),
        problem: None,
    }
}

/// What a merge patch (RFC 7396) would make different.
fn differences(pointer: &mut String, now: Option<&Value>, patch: &Value, found: &mut Vec<Difference>) {
    if found.len() >= DIFFERENCES_MAX {
        return;
    }
    let mut report = |from: Option<&Value>, to: Option<Value>| {
        found.push(Difference { pointer: pointer.clone(), from: from.cloned(), to });
    };
    match (now, patch) {
        (Some(_), Value::Null) => report(now, None),
        (None, Value::Null) => {}
        (Some(Value::Object(_)), Value::Object(members)) => {
            for (name, below) in members {
                let length = pointer.len();
                push_token(pointer, name);
                differences(pointer, now.and_then(|now| now.get(name)), below, found);
                pointer.truncate(length);
            }
        }
        (_, Value::Object(_)) => {
            let mut to = patch.clone();
            strip_nulls(&mut to);
            report(now, Some(to));
        }
        (Some(now), patch) if same(now, patch) => {}
        (now, patch) => report(now, Some(patch.clone())),
    }
}

/// A merge patch's nulls delete, also where there is nothing.
fn strip_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(strip_nulls);
    }
}

/// Equal, where `195` and `195.0` are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_those_of_a_merge() {
        let now = json!({"attributes": {"line": "a", "x": 1, "deep": {"y": [1, 2]}}});
        let check = |patch: Value, wanted: Value| {
            let mut found = Vec::new();
            differences(&mut String::new(), Some(&now), &patch, &mut found);
            assert_eq!(serde_json::to_value(found).expect("JSON"), wanted);
        };
        check(json!({"attributes": {"line": "a", "x": 1.0, "none": null}}), json!([]));
        check(
            json!({"attributes": {"line": "b", "x": null, "a/b": {"z": null, "w": 1}}}),
            json!([
                {"pointer": "/attributes/a~1b", "to": {"w": 1}},
                {"pointer": "/attributes/line", "from": "a", "to": "b"},
                {"pointer": "/attributes/x", "from": 1}
            ]),
        );
        check(
            json!({"attributes": {"deep": {"y": [1]}}}),
            json!([{"pointer": "/attributes/deep/y", "from": [1, 2], "to": [1]}]),
        );
    }
}
