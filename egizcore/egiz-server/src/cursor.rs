//! Cursors: opaque texts that say where a page ended, bound to what was asked and by whom.
//!
//! Form, version 1: base64url of `1`, 16 bytes of seal, position. The seal is the beginning of SHA-256 over the
//! installation's key, the question and the position; the whole hash never leaves, so a seal cannot be lengthened. A
//! cursor gives no right by itself: it only picks a place in what its holder may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use egiz_api::Code;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;

const VERSION: u8 = 1;
const SEAL_BYTES: usize = 16;
/// The longest cursor that is looked at.
const TEXT_BYTES_MAX: usize = 4096;

/// Makes a cursor for `position` within the list that `question` names (route, filter, sort, principal).
pub(crate) fn seal(key: &[u8; 32], question: &[&str], position: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(1 + SEAL_BYTES + position.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&seal_of(key, question, position));
    bytes.extend_from_slice(position);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads the position back.
///
/// # Errors
/// `invalid-cursor` for anything that [`seal`] did not make for the same question.
pub(crate) fn open(key: &[u8; 32], question: &[&str], text: &str) -> Result<Vec<u8>, ApiError> {
    let refused = || {
        ApiError::new(
            Code::InvalidCursor,
            "the cursor was changed, or belongs to another filter, sort order, installation or user",
        )
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(refused());
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    if bytes.len() < 1 + SEAL_BYTES || bytes[0] != VERSION {
        return Err(refused());
    }
    let position = bytes.split_off(1 + SEAL_BYTES);
    if bool::from(bytes[1..].ct_eq(&seal_of(key, question, &position))) {
        Ok(position)
    } else {
        Err(refused())
    }
}

/// Makes a cursor whose position is a text.
pub(crate) fn seal_text(key: &[u8; 32], question: &[&str], position: &str) -> String {
    seal(key, question, position.as_bytes())
}

/// Reads a position that is a text.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_text(key: &[u8; 32], question: &[&str], text: &str) -> Result<String, ApiError> {
    String::from_utf8(open(key, question, text)?).map_err(|_| unreadable())
}

/// Makes a cursor whose position is a value.
pub(crate) fn seal_value<T: Serialize>(key: &[u8; 32], question: &[&str], position: &T) -> String {
    seal(key, question, &serde_json::to_vec(position).unwrap_or_default())
}

/// Reads a position that is a value.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_value<T: DeserializeOwned>(
    key: &[u8; 32],
    question: &[&str],
    text: &str,
) -> Result<T, ApiError> {
    serde_json::from_slice(&open(key, question, text)?).map_err(|_| unreadable())
}

fn unreadable() -> ApiError {
    ApiError::new(Code::InvalidCursor, "the cursor's position is not readable")
}

fn seal_of(key: &[u8; 32], question: &[&str], position: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"egiz cursor");
    hash.update([VERSION]);
    hash.update(key);
    for part in question {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(u64::MAX.to_le_bytes());
    hash.update(position);
    let whole = hash.finalize();
    let mut seal = [0; SEAL_BYTES];
    seal.copy_from_slice(&whole[..SEAL_BYTES]);
    seal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_cursor_belongs_to_one_question() {
        let text = seal(&KEY, &["things", "eq(a,1)", ""], b"factory:oven-001");
        assert_eq!(open(&KEY, &["things", "eq(a,1)", ""], &text).expect("ours"), b"factory:oven-001");
        for other in [["things", "eq(a,2)", ""], ["things", "eq(a,1", ")"], ["devices", "eq(a,1)", ""]] {
            assert!(open(&KEY, &other, &text).is_err());
        }
        assert!(open(&[8; 32], &["things", "eq(a,1)", ""], &text).is_err());
    }

    proptest! {
        #[test]
        fn any_position_comes_back(position in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = seal(&KEY, &["q"], &position);
            prop_assert_eq!(open(&KEY, &["q"], &text).expect("ours"), position);
        }

        #[test]
        fn a_changed_cursor_is_refused(
            position in prop::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            with in "[A-Za-z0-9_=+/-]",
        ) {
            let text = seal(&KEY, &["q"], &position);
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != text);
            let problem = open(&KEY, &["q"], &changed).expect_err("changed").0;
            prop_assert_eq!(problem.status, 400);
        }

        #[test]
        fn outside_text_is_refused(text in "\\PC{0,60}") {
            prop_assert!(open(&KEY, &["q"], &text).is_err());
        }
    }
}
