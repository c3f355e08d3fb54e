//! What the specification forbids and the codec lets pass: checked on the bytes of a whole packet, before it is decoded.
//!
//! Cutting the stream into packets happens here, too, so that a size is checked before anything is buffered for it. What
//! is wrong with a packet and is found by the codec is left to it.

use super::walk::Walk;
use super::{Fault, MALFORMED, TOO_LARGE, Version};

/// A whole packet at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The first byte: type and flags.
    pub(super) first: u8,
    /// Bytes of the fixed header.
    pub(super) header: usize,
    /// Bytes in all.
    pub(super) total: usize,
}

/// Finds the packet at the front; `None` until it is whole.
///
/// # Errors
/// A length of more than four bytes (2.2.3, 1.5.5-1), or beyond `bytes_max`.
pub(super) fn frame(bytes: &[u8], bytes_max: usize) -> Result<Option<Frame>, Fault> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for (index, octet) in rest.iter().take(4).enumerate() {
        length |= usize::from(octet & 0x7f) << (7 * index);
        if octet & 0x80 == 0 {
            let header = index + 2;
            let total = header + length;
            if total > bytes_max {
                return Err(TOO_LARGE);
            }
            let whole = Frame { first: *first, header, total };
            return Ok((bytes.len() >= total).then_some(whole));
        }
    }
    if rest.len() >= 4 { Err(MALFORMED) } else { Ok(None) }
}

/// Checks a packet after the CONNECT.
///
/// # Errors
/// [`MALFORMED`].
pub(super) fn check(version: Version, first: u8, body: &[u8]) -> Result<(), Fault> {
    match (first, version) {
        // PINGREQ, and DISCONNECT in 3.1.1, have nothing but their header.
        (0xC0, _) | (0xE0, Version::V3) if !body.is_empty() => Err(MALFORMED),
        // The upper bits of a requested QoS are reserved (MQTT-3.8.3-4); in 5.0 they are options.
        (0x82, Version::V3) => {
            let mut rest = Walk(body);
            rest.take(2)?;
            while !rest.0.is_empty() {
                rest.counted()?;
                if !matches!(rest.array()?, [0..=2]) {
                    return Err(MALFORMED);
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks the body of a CONNECT of a known version.
///
/// # Errors
/// [`MALFORMED`].
pub(super) fn check_connect(version: Version, body: &[u8]) -> Result<(), Fault> {
    let mut rest = Walk(body);
    rest.counted()?;
    let [_, flags, _, _] = rest.array()?;
    let has = |flag| flags & flag != 0;
    skip_properties(&mut rest, version)?;
    rest.counted()?;
    if has(0x04) {
        skip_properties(&mut rest, version)?;
        rest.counted()?;
        rest.counted()?;
    } else if has(0x38) {
        // No will, no quality or retaining of it (MQTT-3.1.2-11 to -15).
        return Err(MALFORMED);
    }
    if has(0x80) {
        rest.counted()?;
    } else if has(0x40) && version == Version::V3 {
        // In 3.1.1 no password without a user name (MQTT-3.1.2-22).
        return Err(MALFORMED);
    }
    if has(0x40) {
        rest.counted()?;
    }
    if rest.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// Steps over a property section, which 3.1.1 does not have.
fn skip_properties(rest: &mut Walk<'_>, version: Version) -> Result<(), Fault> {
    if version == Version::V5 {
        rest.section()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_where_their_length_says() {
        let check = |bytes: &[u8], expected: Result<Option<usize>, Fault>| {
            assert_eq!(
                frame(bytes, 200).map(|whole| whole.map(|whole| whole.total)),
                expected,
                "{bytes:02x?}"
            );
        };
        check(b"", Ok(None));
        check(b"\xC0", Ok(None));
        check(b"\xC0\x00", Ok(Some(2)));
        check(b"\x30\x03ab", Ok(None));
        check(b"\x30\x03abcd", Ok(Some(5)));
        check(b"\x30\x80", Ok(None));
        check(b"\x30\xC5\x01", Ok(None));
        check(b"\x30\xC6\x01", Err(TOO_LARGE));
        check(b"\x30\xFF\xFF\xFF\xFF", Err(MALFORMED));
    }

    #[test]
    fn mqtt_3_8_3_4_reserved_bits_of_a_quality_are_zero() {
        assert_eq!(check(Version::V3, 0x82, b"\x00\x01\x00\x01a\x02"), Ok(()));
        assert_eq!(check(Version::V3, 0x82, b"\x00\x01\x00\x01a\x06"), Err(MALFORMED));
        assert_eq!(check(Version::V5, 0x82, b"\x00\x01\x00\x00\x01a\x2d"), Ok(()));
    }
}
