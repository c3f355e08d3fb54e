//! JSON patch (RFC 6902), one operation after the other, so that a small patch cannot make a large document.
//!
//! The operations themselves are those of the `json-patch` crate. Here is what it leaves open to whoever takes patches from
//! outside: how many there may be, how deep and how large the document may become on the way (`copy` doubles), and that
//! `test` compares numbers by what they are worth (`1` equals `1.0`, section 4.6).

use egiz_model::Value;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value as Json;

use crate::Refusal;
use crate::document::{byte_length, depth, invalid};

/// How many operations a patch may have.
const OPERATIONS_MAX: usize = 1024;
/// How deep the document may become, the objects of the Thing included.
pub(crate) const DEPTH_MAX: usize = 48;

/// Applies the patch in `content` to `target`, which lies at `pointer`. After a refusal the target is of no use.
pub(crate) fn apply(
    target: &mut Json,
    pointer: &str,
    content: &[u8],
    bytes_max: usize,
) -> Result<(), Refusal> {
    let patch: json_patch::Patch = serde_json::from_slice(content)
        .map_err(|error| invalid(pointer, format!("it is no JSON patch: {error}")))?;
    if patch.0.len() > OPERATIONS_MAX {
        let reason = format!("the patch has {} operations; allowed are {OPERATIONS_MAX}", patch.0.len());
        return Err(invalid(pointer, reason));
    }
    let mut copied_bytes = 0;
    for (number, operation) in patch.0.iter().enumerate() {
        let path = operation.path();
        let place = || format!("{pointer}{path}");
        if let PatchOperation::Test(test) = operation {
            // A test of something that is not there fails like one of something else.
            let found = target.pointer(path.as_str());
            let holds = found.is_some_and(|found| Value::from_json(found) == Value::from_json(&test.value));
            if !holds {
                return Err(Refusal::PatchTestFailed { pointer: place() });
            }
            continue;
        }
        let put = match operation {
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            PatchOperation::Copy(copy) => target.pointer(copy.from.as_str()),
            PatchOperation::Move(from) => target.pointer(from.from.as_str()),
            _ => None,
        };
        if put.is_some_and(|put| path.count() + depth(put) > DEPTH_MAX) {
            return Err(invalid(
                &place(),
                format!("operation {number} nests deeper than {DEPTH_MAX} levels"),
            ));
        }
        if let (PatchOperation::Copy(_), Some(put)) = (operation, put) {
            copied_bytes += byte_length(put);
            if copied_bytes > bytes_max {
                return Err(Refusal::TooLarge { limit_bytes: bytes_max, size: copied_bytes });
            }
        }
        json_patch::patch_unsafe(target, std::slice::from_ref(operation)).map_err(|error| {
            let reason = match (error.kind, operation) {
                (PatchErrorKind::CannotMoveInsideItself, _) => "nothing can be moved into itself",
                (_, PatchOperation::Remove(_)) if path.is_root() => "the whole cannot be removed",
                (PatchErrorKind::InvalidFromPointer, _) => "there is nothing where `from` points",
                (PatchErrorKind::InvalidPointer, PatchOperation::Remove(_) | PatchOperation::Replace(_)) => {
                    "there is nothing here"
                }
                _ => "there is nothing to put it into",
            };
            Refusal::PatchConflict { pointer: place(), operation: number, reason }
        })?;
    }
    Ok(())
}
