//! History's part of a replay, on a thread of its own: a start takes no longer than the engine does.

use std::sync::mpsc::{SyncSender, sync_channel};

use egiz_historian::Historian;
use egiz_model::Offset;

use super::{Note, Recorder, take_in};

/// Records handed over at a time.
const RECORDS: usize = 512;
/// Their bytes at the most, but for the last record.
const BYTES: usize = 1 << 20;
/// How much waits for the thread; full: the replay waits.
const PIECES_AHEAD: usize = 4;

/// The replay's end of the way.
pub(crate) struct CatchUp {
    queue: SyncSender<Piece>,
    piece: Piece,
}

/// Some records, one after another.
#[derive(Default)]
struct Piece {
    /// The bytes of those that have a note.
    bytes: Vec<u8>,
    /// Where each ends in `bytes`, and what history needs to know of it.
    records: Vec<(Offset, usize, Option<Note>)>,
}

/// Runs a replay beside the thread that takes its records into history; returns when both are done. `after_piece` is called
/// on that thread when some were taken in.
pub(crate) fn catch_up<T>(
    historian: &Historian,
    after_piece: impl Fn() + Send,
    replay: impl FnOnce(&mut CatchUp) -> T,
) -> T {
    std::thread::scope(|scope| {
        let (queue, pieces) = sync_channel::<Piece>(PIECES_AHEAD);
        scope.spawn(move || {
            let mut recorder = Recorder::default();
            for piece in pieces {
                piece.take_in(historian, &mut recorder);
                after_piece();
            }
        });
        let mut own = CatchUp { queue, piece: Piece::default() };
        let result = replay(&mut own);
        own.hand_over();
        result
    })
}

impl CatchUp {
    /// Takes in the record at the next offset.
    pub(crate) fn add(&mut self, offset: Offset, bytes: &[u8], note: Option<Note>) {
        let piece = &mut self.piece;
        if note.is_some() {
            piece.bytes.extend_from_slice(bytes);
        }
        piece.records.push((offset, piece.bytes.len(), note));
        if piece.records.len() >= RECORDS || piece.bytes.len() >= BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        // Where the thread panicked, so does who waits for it.
        let _ = self.queue.send(std::mem::take(&mut self.piece));
    }
}

impl Piece {
    fn take_in(&self, historian: &Historian, recorder: &mut Recorder) {
        for (_, bytes, note) in self.records() {
            note.into_iter().for_each(|note| recorder.prepare(bytes, note, Some(historian)));
        }
        let mut intake = historian.intake();
        for (offset, bytes, note) in self.records() {
            take_in(&mut intake, offset, bytes, note, recorder);
        }
    }

    fn records(&self) -> impl Iterator<Item = (Offset, &[u8], Option<&Note>)> {
        let mut begin = 0;
        self.records.iter().map(move |(offset, end, note)| {
            let bytes = &self.bytes[std::mem::replace(&mut begin, *end)..*end];
            (*offset, bytes, note.as_ref())
        })
    }
}
