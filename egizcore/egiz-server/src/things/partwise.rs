//! A merge patch whose parts have conditions of their own: what does not hold is left out, the rest applies.
//!
//! The header field `merge-thing-patch-conditions` is Eclipse Ditto's: a JSON object of JSON pointers into the patch, each with
//! the RQL that the Thing must fulfil for that part to stay. Which parts stay is found out here, on the state at hand, and the
//! rest is written on the condition that the Thing is still at that revision; when somebody was faster, it is found out anew.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::response::Response;
use egiz_api::{Code, Problem};
use egiz_model::record::{Preconditions, WriteOperation};
use egiz_twin::{Filter, Outcome, Refusal, ThingRef, WriteOutcome};
use serde_json::Value;

use super::asked::Asked;
use super::write::{answer, submit_write, with_whole_id};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params;
use crate::strict;
use crate::target::{self, Target};

/// The header field.
pub(super) const FIELD: &str = "merge-thing-patch-conditions";
/// Conditions in one request.
const CONDITIONS_MAX: usize = 64;
/// How often somebody else may be faster.
const TRIES: usize = 16;

/// Which part of a patch stays on which condition.
#[derive(Debug)]
pub(crate) struct PartConditions(Vec<(String, Filter)>);

impl PartConditions {
    /// Reads the header field; nothing where it is not there.
    ///
    /// # Errors
    /// `invalid-parameter` naming what is wrong, or that of a filter.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut fields = headers.get_all(FIELD).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            return Err(params::refused(FIELD, "it is there twice"));
        }
        let shape = "it must be a JSON object of JSON pointers into the patch and RQL, such as {\"/attributes/line\":\"exists(attributes/type)\"}";
        let members: serde_json::Map<String, Value> =
            serde_json::from_slice(field.as_bytes()).map_err(|_| params::refused(FIELD, shape))?;
        if members.len() > CONDITIONS_MAX {
            return Err(params::refused(FIELD, &format!("it has more than {CONDITIONS_MAX} conditions")));
        }
        let mut conditions = Vec::with_capacity(members.len());
        for (pointer, condition) in members {
            let Value::String(condition) = condition else { return Err(params::refused(FIELD, shape)) };
            // Ditto's own examples leave the first slash out.
            let pointer = if pointer.starts_with('/') { pointer } else { format!("/{pointer}") };
            let filter = Filter::parse(&condition).map_err(|error| ApiError::from(&error))?;
            conditions.push((pointer, filter));
        }
        Ok(Some(Self(conditions)))
    }

    /// Leaves out of the patch what may not stay. Of a Thing that does not exist nothing holds.
    fn apply(&self, patch: &mut Value, thing: Option<ThingRef<'_>>) {
        for (pointer, filter) in &self.0 {
            if !thing.is_some_and(|thing| filter.matches(thing)) {
                remove(patch, pointer);
            }
        }
    }
}

/// Takes out of `patch` what is at the pointer, if there is something.
fn remove(patch: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = target::name_of(name);
    if let Some(Value::Object(members)) = patch.pointer_mut(parent) {
        members.remove(&name);
    }
}

/// Writes the parts of a merge patch whose conditions hold.
///
/// # Errors
/// Those of any write; `busy` where others were faster each time.
pub(crate) async fn merge(
    app: &App,
    caller: &Caller,
    target: &Target,
    content: &[u8],
    conditions: &PartConditions,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let content = if target.pointer.is_empty() {
        with_whole_id(content, &target.thing)
    } else {
        Cow::Borrowed(content)
    };
    let patch: Value = serde_json::from_slice(&content)
        .map_err(|error| Problem::new(Code::InvalidValue, format!("the patch is no JSON: {error}")))?;
    for _ in 0..TRIES {
        // The conditions of parts are none of the whole.
        let place = (&*target.thing, &*target.pointer);
        strict::preconditions(&app.ports, place, WriteOperation::Merge, asked.preconditions())?;
        let mut rest = patch.clone();
        let still = {
            let engine = app.ports.engine.read();
            let thing = engine.thing(&target.thing);
            conditions.apply(&mut rest, thing);
            thing.map(|thing| (thing.revision(), asked.condition_holds(thing)))
        };
        let condition = match still {
            Some((revision, _)) => asked.condition_at(revision),
            None => asked.condition.clone(),
        };
        // What does not exist is made only if nobody else made it meanwhile.
        let makes_it = still.is_none() && asked.if_none_match.is_empty();
        let preconditions = Preconditions {
            if_match: &asked.if_match,
            if_none_match: if makes_it { "*" } else { &asked.if_none_match },
            condition: &condition,
        };
        let rest = rest.to_string();
        let applied =
            submit_write(app, caller, target, WriteOperation::Merge, rest.as_bytes(), preconditions).await?;
        let was_faster = match &applied.outcome {
            // The condition of the request itself may be what does not hold.
            Outcome::Write(WriteOutcome::Refused(Refusal::Condition)) => {
                still.is_some_and(|(_, own_condition_held)| own_condition_held)
            }
            Outcome::Write(WriteOutcome::Refused(Refusal::IfNoneMatch { .. })) => makes_it,
            _ => false,
        };
        if !was_faster {
            return answer(app, target, asked, applied);
        }
    }
    Err(Problem::new(Code::Busy, "others changed the Thing each time before the patch came to it")
        .retry_after(1)
        .into())
}
