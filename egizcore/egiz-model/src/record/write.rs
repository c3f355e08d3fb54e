//! What people, services and models ask of a Thing: create, put, patch, delete, under conditions.

use super::format::{DecodeError, ItemReader, ItemWriter};

/// A request to change a Thing, borrowed from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThingWrite<'a> {
    /// The Thing's id.
    pub thing: &'a str,
    /// What to do.
    pub operation: WriteOperation,
    /// Where, as a JSON pointer (RFC 6901) into the Thing: empty for the whole, `/attributes/type`,
    /// `/features/thermal/properties/temperature_zones/0`; `/_metadata/<feature>/<property>` for metadata of a property.
    pub path: &'a str,
    /// JSON: the value, the merge patch or the JSON patch; empty where the operation takes none.
    pub content: &'a [u8],
    /// What must hold for the write to apply; decided when it is applied.
    pub preconditions: Preconditions<'a>,
}

/// What to do at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteOperation {
    /// Put the value there, creating or replacing.
    Put = 0,
    /// Merge (RFC 7396).
    Merge = 1,
    /// Apply a JSON patch (RFC 6902).
    Patch = 2,
    /// Remove what is there.
    Delete = 3,
    /// Create the Thing; it must not exist.
    Create = 4,
    /// Create the Thing from a discovered device, with the last values heard of it; it must have been discovered and not exist.
    Accept = 5,
}

/// Conditions of a write; an empty text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preconditions<'a> {
    /// The `If-Match` header's value.
    pub if_match: &'a str,
    /// The `If-None-Match` header's value.
    pub if_none_match: &'a str,
    /// A filter over the Thing's state before the write.
    pub condition: &'a str,
}

impl WriteOperation {
    const ALL: [Self; 6] = [Self::Put, Self::Merge, Self::Patch, Self::Delete, Self::Create, Self::Accept];
}

impl<'a> ThingWrite<'a> {
    pub(super) fn decode(reader: &mut ItemReader<'a>) -> Result<Self, DecodeError> {
        let thing = reader.str()?;
        let number = reader.byte()?;
        let operation = WriteOperation::ALL
            .into_iter()
            .find(|operation| *operation as u8 == number)
            .ok_or(DecodeError::Number { what: "an operation", number: number.into() })?;
        Ok(Self {
            thing,
            operation,
            path: reader.str()?,
            content: reader.bytes()?,
            preconditions: Preconditions {
                if_match: reader.str()?,
                if_none_match: reader.str()?,
                condition: reader.str()?,
            },
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ItemWriter::new(out);
        writer.str(self.thing);
        writer.byte(self.operation as u8);
        writer.str(self.path);
        writer.bytes(self.content);
        writer.str(self.preconditions.if_match);
        writer.str(self.preconditions.if_none_match);
        writer.str(self.preconditions.condition);
    }
}
