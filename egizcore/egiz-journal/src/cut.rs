//! Cutting a log that nobody has open: records from an offset on are gone, as if they had never been appended.
//!
//! For who brings back the state of an earlier moment. Files that begin at the offset or behind it are removed, the newest first,
//! so that where it is interrupted the log is whole and it can be done again. Where the offset lies within a group, the group is
//! written again with the records before it. A log that ends before the offset stays as it is. It refuses a folder that a journal
//! has open, and a log that begins behind the offset. What may lie behind the committed end of a file is not told apart from
//! records, so it is for copies as [`crate::CommittedSegment`] describes them.

use std::path::Path;
use std::sync::Arc;

use crate::batch::records;
use crate::format::{self, Flaw, GROUP_HEADER_BYTES, HEADER_BYTES, Header};
use crate::segments::{base_of, file_name};
use crate::storage::{Folder, Storage, StoredFile};
use crate::window::{Source as _, Window};
use crate::{Offset, OpenError};

/// Removes the records from `offset` on from the log in `folder`.
///
/// # Errors
/// [`OpenError`]: the folder cannot be used, a journal has it open, or the log is damaged or begins behind `offset`.
pub fn cut_before(folder: &Path, offset: Offset) -> Result<(), OpenError> {
    let storage = Folder::open(folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::InUse { folder: folder.display().to_string() },
        _ => OpenError::Io { what: folder.display().to_string(), source },
    })?;
    let failed = |what: &str| {
        let what = format!("{what} in {}", folder.display());
        move |source| OpenError::Io { what: what.clone(), source }
    };
    let mut bases: Vec<Offset> =
        storage.list().map_err(failed("files"))?.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    while let Some(last) = bases.last().copied()
        && last >= offset
        && bases.len() > 1
    {
        storage
            .remove(&file_name(last))
            .and_then(|()| storage.sync_folder())
            .map_err(failed(&file_name(last)))?;
        bases.pop();
    }
    let Some(last) = bases.last().copied().filter(|base| *base <= offset) else {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "the log begins behind it");
        return Err(failed(&format!("record {offset}"))(source));
    };
    let name = file_name(last);
    let file: Arc<dyn StoredFile> = storage.open(&name).map(Arc::from).map_err(failed(&name))?;
    cut_segment(&file, &name, offset, failed(&name))
}

fn cut_segment(
    file: &Arc<dyn StoredFile>,
    name: &str,
    offset: Offset,
    failed: impl Fn(std::io::Error) -> OpenError + Clone,
) -> Result<(), OpenError> {
    let damaged =
        |position, flaw| OpenError::Damaged { file: name.to_owned(), position, flaw, valid_from: None };
    let length = file.length().map_err(failed.clone())?;
    let mut window = Window::new(Arc::clone(file), length);
    let header = window.at(0, HEADER_BYTES).map_err(failed.clone())?;
    let header = Header::decode(header).map_err(|flaw| damaged(0, flaw))?;
    let (mut position, mut next) = (HEADER_BYTES as u64, header.base);
    while next < offset && position < length {
        let bytes = window.at(position, GROUP_HEADER_BYTES).map_err(failed.clone())?;
        let group = match format::decode_group_header(bytes, header.salt) {
            Ok(group) if group.first != next => Err(Flaw::GroupOffset(group.first)),
            other => other,
        };
        let group = group.map_err(|flaw| damaged(position, flaw))?;
        let whole = window.at(position, GROUP_HEADER_BYTES + group.body_bytes).map_err(failed.clone())?;
        format::check_group(whole, &group).map_err(|flaw| damaged(position, flaw))?;
        if group.next() > offset {
            let mut shortened = Vec::new();
            format::begin_group(&mut shortened);
            let mut count = 0;
            for record in records(&whole[GROUP_HEADER_BYTES..]).take((offset - group.first) as usize) {
                shortened.extend_from_slice(&(record.len() as u32).to_le_bytes());
                shortened.extend_from_slice(record);
                count += 1;
            }
            format::finish_group(&mut shortened, header.salt, group.first, count, group.synced_before);
            // Cut first: where it is interrupted, the group is gone as a whole.
            file.truncate(position).and_then(|()| file.sync()).map_err(failed.clone())?;
            file.write_at(&shortened, position).and_then(|()| file.sync()).map_err(failed)?;
            return Ok(());
        }
        position += group.whole_bytes();
        next = group.next();
    }
    file.truncate(position).and_then(|()| file.sync()).map_err(failed)
}
