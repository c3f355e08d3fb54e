//! What the specification forbids and the codec lets pass: checked on the bytes of a whole packet, before it is decoded.
//!
//! Cutting the stream into packets happens here, too, so that a size is checked before anything is buffered for it. What
//! is wrong with a packet and is found by the codec is left to it.

use super::{Fault, MALFORMED, TOO_LARGE, TOPIC_ALIAS, Version};

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
/// [`MALFORMED`], [`TOPIC_ALIAS`].
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
                if !matches!(rest.take(1)?, [0..=2]) {
                    return Err(MALFORMED);
                }
            }
            Ok(())
        }
        (0x30..=0x3F, Version::V5) if has_alias_0(first, body).unwrap_or(false) => Err(TOPIC_ALIAS),
        _ => Ok(()),
    }
}

/// Whether a PUBLISH has topic alias 0 (MQTT-3.3.2-8), which the codec takes for any malformed packet. `None` where it cannot be
/// told because something else is wrong.
fn has_alias_0(first: u8, body: &[u8]) -> Option<bool> {
    let mut rest = Walk(body);
    rest.counted().ok()?;
    if first & 6 != 0 {
        rest.take(2).ok()?;
    }
    let mut properties = Walk(rest.section().ok()?);
    while let [identifier, ..] = properties.0 {
        properties.take(1).ok()?;
        match identifier {
            0x01 => properties.take(1).map(|_| ()),
            0x02 => properties.take(4).map(|_| ()),
            0x03 | 0x08 | 0x09 => properties.counted(),
            0x26 => properties.counted().and_then(|()| properties.counted()),
            0x23 => {
                if properties.take(2).ok()? == [0, 0] {
                    return Some(true);
                }
                Ok(())
            }
            _ => return None,
        }
        .ok()?;
    }
    Some(false)
}

/// Checks the body of a CONNECT of a known version.
///
/// # Errors
/// [`MALFORMED`].
pub(super) fn check_connect(version: Version, body: &[u8]) -> Result<(), Fault> {
    let mut rest = Walk(body);
    rest.counted()?;
    let &[_, flags, _, _] = rest.take(4)? else { return Err(MALFORMED) };
    let has = |flag| flags & flag != 0;
    rest.properties(version)?;
    rest.counted()?;
    if has(0x04) {
        rest.properties(version)?;
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

/// Bytes that are stepped over from the front.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A string or binary data with its length before it.
    fn counted(&mut self) -> Result<(), Fault> {
        let &[high, low] = self.take(2)? else { return Err(MALFORMED) };
        self.take(usize::from(u16::from_be_bytes([high, low])))?;
        Ok(())
    }

    /// A property section, which 3.1.1 does not have.
    fn properties(&mut self, version: Version) -> Result<(), Fault> {
        if version == Version::V5 {
            self.section()?;
        }
        Ok(())
    }

    /// A section with its length before it.
    fn section(&mut self) -> Result<&'a [u8], Fault> {
        let mut length = 0;
        for index in 0..4 {
            let &[octet] = self.take(1)? else { return Err(MALFORMED) };
            length |= usize::from(octet & 0x7f) << (7 * index);
            if octet & 0x80 == 0 {
                return self.take(length);
            }
        }
        Err(MALFORMED)
    }
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
