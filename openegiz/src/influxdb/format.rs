//! The file that says up to where an InfluxDB has everything: `magic version offset crc32c`, numbers little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `EGIZIFDB` |
//! | 4 | the version, 1 |
//! | 8 | the offset of the first record of the journal that is not there yet |
//! | 4 | CRC-32C of all that |

use egiz_model::Offset;

const MAGIC: &[u8; 8] = b"EGIZIFDB";
const VERSION: u32 = 1;

/// The bytes of the file.
pub(super) fn encode(next: Offset) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&next.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Reads them.
///
/// # Errors
/// What is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<Offset, &'static str> {
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or("it is cut short")?;
    let rest = body.strip_prefix(MAGIC).ok_or("it is no place in the journal")?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or("it is cut short")?;
    if u32::from_le_bytes(*version) != VERSION {
        return Err("it was written by another version");
    }
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err("its checksum does not match");
    }
    let offset: &[u8; 8] = rest.try_into().map_err(|_| "it has another length")?;
    Ok(Offset::from_le_bytes(*offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it.
    const GOLDEN: &[u8] = b"EGIZIFDB\x01\0\0\0\x39\x30\0\0\0\0\0\0\x2e\x6f\x84\x64";

    #[test]
    fn version_1_is_read_and_written() {
        assert_eq!(encode(12_345), GOLDEN);
        assert_eq!(decode(GOLDEN), Ok(12_345));
    }

    #[test]
    fn whatever_is_damaged_is_refused() {
        let whole = encode(12_345);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            assert!(decode(&flipped).is_err(), "flipped at {at}");
        }
        assert!(decode(&[whole, vec![0]].concat()).is_err());
    }
}
