//! A body as it was before it was packed, within a bound: a small body may unpack to any size.

use std::io::Read as _;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use egiz_api::{Code, Problem};
use flate2::read::MultiGzDecoder;

use crate::error::ApiError;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// As RFC 1952 has it.
    Gzip,
}

impl Encoding {
    /// Reads `Content-Encoding`.
    ///
    /// # Errors
    /// `unsupported-media-type`.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = headers.get(CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
        match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            Ok("" | "identity") => Ok(Self::Identity),
            Ok("gzip" | "x-gzip") => Ok(Self::Gzip),
            other => {
                let shown: String = other.unwrap_or("?").chars().take(40).collect();
                Err(ApiError::new(
                    Code::UnsupportedMediaType,
                    format!("Content-Encoding is `{shown}`; allowed are gzip and identity"),
                ))
            }
        }
    }
}

/// Unpacks a body; takes milliseconds for each megabyte.
///
/// # Errors
/// `body-too-large` where it unpacks to more than `limit` bytes, `malformed-request` where it is not what it says.
pub(super) fn unpacked(body: Bytes, encoding: Encoding, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::from(
            Problem::new(Code::BodyTooLarge, format!("the body unpacks to more than {limit} bytes"))
                .limit(limit as u64),
        )
    };
    if encoding == Encoding::Identity {
        return if body.len() > limit { Err(too_large()) } else { Ok(body) };
    }
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(&body[..]).take(most).read_to_end(&mut unpacked).map_err(|error| {
        ApiError::new(
            Code::MalformedRequest,
            format!("the body is not gzip, as Content-Encoding says: {error}"),
        )
    })?;
    if unpacked.len() > limit { Err(too_large()) } else { Ok(unpacked.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[test]
    fn a_body_is_unpacked_up_to_its_bound() {
        let bomb = packed(&vec![b'x'; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let refused = unpacked(bomb.into(), Encoding::Gzip, 1_000_000).expect_err("too large");
        assert_eq!(refused.0.status, 413);
        let text = unpacked(packed(b"m v=1").into(), Encoding::Gzip, 5).expect("it fits");
        assert_eq!(&text[..], b"m v=1");
        let mut two = packed(b"m v=1\n");
        two.extend(packed(b"m v=2"));
        assert_eq!(&unpacked(two.into(), Encoding::Gzip, 100).expect("both")[..], b"m v=1\nm v=2");
        assert!(unpacked(Bytes::from_static(b"123456"), Encoding::Identity, 5).is_err());
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        let mut torn = packed(b"m v=1");
        torn.truncate(12);
        for body in [b"m v=1".to_vec(), torn, Vec::new()] {
            let refused = unpacked(body.into(), Encoding::Gzip, 100).map(|text| text.len());
            assert_eq!(refused.expect_err("it is none").0.status, 400);
        }
    }
}
