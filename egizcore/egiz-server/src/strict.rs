//! Strict sites: what exists there is changed only under a condition, so that nobody overwrites what they have not read
//! (RFC 6585 §3).
//!
//! Any of `If-Match`, `If-None-Match` and `condition` will do. What does not exist is made without one, and only as long
//! as it does not exist: the record says so itself, because somebody else may be faster.

use egiz_api::{Code, Problem};
use egiz_model::record::{Preconditions, WriteOperation};
use egiz_twin::Refusal;

use crate::error::{ApiError, of_refusal};
use crate::ports::Ports;

/// Stands for all sites.
const EVERY_SITE: &str = "*";
/// Holds for no Thing that is there; not looked at where none is.
const NOT_THERE: &str = "eq(_revision,0)";

/// The preconditions under which a write goes to the engine.
///
/// # Errors
/// `precondition-required` where it has none, the site is strict and the Thing exists.
pub(crate) fn preconditions<'a>(
    ports: &Ports,
    (thing, path): (&str, &str),
    operation: WriteOperation,
    asked: Preconditions<'a>,
) -> Result<Preconditions<'a>, ApiError> {
    let strict_sites = &ports.settings.strict_sites;
    let creates_only = matches!(operation, WriteOperation::Create | WriteOperation::Accept);
    if strict_sites.is_empty() || creates_only || is_conditional(&asked) {
        return Ok(asked);
    }
    let site = thing.split_once(':').map_or(thing, |(site, _)| site);
    if !strict_sites.iter().any(|strict| strict == site || strict == EVERY_SITE) {
        return Ok(asked);
    }
    if let Some(thing) = ports.engine.read().thing(thing) {
        return Err(required(thing.id().as_str(), Some(thing.revision())));
    }
    let creates = path.is_empty() && matches!(operation, WriteOperation::Put | WriteOperation::Merge);
    Ok(match creates {
        true => Preconditions { if_none_match: "*", ..asked },
        false => Preconditions { condition: NOT_THERE, ..asked },
    })
}

/// Why the engine refused a write that was asked for with these preconditions.
pub(crate) fn refusal(refusal: Refusal, thing: &str, asked: &Preconditions<'_>) -> ApiError {
    match refusal {
        // Only what was added here can have failed.
        Refusal::Condition | Refusal::IfNoneMatch { .. } if !is_conditional(asked) => required(thing, None),
        refusal => of_refusal(refusal, thing),
    }
}

fn is_conditional(asked: &Preconditions<'_>) -> bool {
    [asked.if_match, asked.if_none_match, asked.condition].iter().any(|text| !text.is_empty())
}

fn required(thing: &str, revision: Option<u64>) -> ApiError {
    let detail = format!(
        "{thing} exists, and its site is strict: say with If-Match which state is to be changed, or give a condition"
    );
    Problem::new(Code::PreconditionRequired, detail).revision(revision).into()
}
