//! Page sizes.

use egiz_api::{Code, Problem};

use crate::error::ApiError;

/// The size of a page where none is asked for.
pub(crate) const DEFAULT: u64 = 25;
/// The largest page.
pub(crate) const MAX: u64 = 200;

/// Checks the size asked for.
///
/// # Errors
/// `page-too-large` above [`MAX`], never silently less; `invalid-parameter` for 0.
pub(crate) fn limit(asked: Option<u64>) -> Result<usize, ApiError> {
    match asked.unwrap_or(DEFAULT) {
        0 => Err(crate::params::refused("limit", "it must be at least 1")),
        limit @ 1..=MAX => Ok(usize::try_from(limit).unwrap_or(0)),
        _ => {
            let detail = format!("a page has at most {MAX} items; go on with the cursor for more");
            Err(Problem::new(Code::PageTooLarge, detail)
                .in_parameter("limit", format!("1 to {MAX}"))
                .limit(MAX)
                .into())
        }
    }
}
