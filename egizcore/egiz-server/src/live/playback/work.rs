//! What playbacks have done on blocking threads: key frames, stretches of history, the telling of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use egiz_api::Code;
use egiz_historian::{Cast, Historian, HistoryError, Passage, PropertyState, Window};
use egiz_model::Timestamp;

use super::stage::Stage;
use super::write::Piece;
use crate::error::ApiError;

/// Things of a piece of a key frame at most.
const PIECE_THINGS: usize = 1000;
/// The first stretch that is looked through for a value before; the next ones are longer.
const LOOK_BACK_MICROS: i64 = 10_000_000;
/// No Thing has said anything before it.
const BEGINNING_MICROS: i64 = 0;

/// Of which Things which features are played.
pub(super) struct Wanted {
    /// By id; all where it is none.
    pub(super) things: Option<Vec<Arc<str>>>,
    pub(super) features: Option<Vec<String>>,
}

impl Wanted {
    fn has(&self, feature: &str) -> bool {
        self.features.as_ref().is_none_or(|features| features.iter().any(|wanted| wanted == feature))
    }
}

/// Something to be done.
pub(super) enum Job {
    /// A piece of a key frame: the Things behind `after`.
    KeyFrame { at: Timestamp, after: Option<Arc<str>> },
    /// What was measured in a stretch; `is_last` where no other is to come.
    Read { passage: Passage, is_last: bool },
    /// What was measured in `(after, until]`, from a stretch that was read.
    Tell { reel: Box<Reel>, after: Timestamp, until: Timestamp },
    /// When something was measured last before a time.
    Find { before: Timestamp },
}

/// What came of it.
pub(super) enum Done {
    /// The piece, and the last Thing of it where more are to come.
    KeyFrame {
        rest: Vec<u8>,
        after: Option<Arc<str>>,
    },
    Read(Box<Reel>),
    Told {
        reel: Box<Reel>,
        until: Timestamp,
        pieces: Vec<Vec<u8>>,
    },
    Found(Option<Timestamp>),
}

impl Done {
    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// A stretch that was read.
pub(super) struct Reel {
    pub(super) window: Window,
    pub(super) after: Timestamp,
    /// Up to where it was to be read; the window may end before.
    pub(super) asked: Timestamp,
    /// In which steps.
    pub(super) every_micros: i64,
    pub(super) is_last: bool,
}

impl Reel {
    /// The last time up to this one at which it is exact, its end at most.
    pub(super) fn step_before(&self, time: Timestamp) -> Timestamp {
        if time >= self.window.end() || self.every_micros <= 0 {
            return time.min(self.window.end());
        }
        let steps = time.micros_since(self.after).div_euclid(self.every_micros);
        self.after.plus_micros(steps.saturating_mul(self.every_micros))
    }
}

impl Job {
    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Whether history is read for it.
    pub(super) fn needs_a_turn(&self) -> bool {
        !matches!(self, Self::Tell { .. })
    }
}

/// Does jobs of one playback as long as it is where it was when they were given out.
pub(super) struct Worker {
    pub(super) historian: Arc<Historian>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) stage: Arc<Stage>,
    /// Counts the playback's seeks.
    pub(super) seeks: Arc<AtomicU64>,
    pub(super) seek: u64,
}

impl Worker {
    /// Does a job; nothing came of it where the playback went elsewhere meanwhile.
    ///
    /// # Errors
    /// `unavailable` where history cannot be read.
    pub(super) fn do_job(&self, job: Job) -> Result<Option<Done>, ApiError> {
        if !self.goes_on() {
            return Ok(None);
        }
        let done = match job {
            Job::KeyFrame { at, after } => self.key_frame(at, after.as_deref())?,
            Job::Read { passage, is_last } => {
                let begun = std::time::Instant::now();
                let window = self.window(passage)?;
                self.stage.metrics.read_seconds.observe(begun.elapsed().as_secs_f64());
                window.map(|window| {
                    let Passage { after, until, every_micros, .. } = passage;
                    let is_last = is_last && window.end() >= until;
                    Done::Read(Box::new(Reel { window, after, asked: until, every_micros, is_last }))
                })
            }
            Job::Tell { reel, after, until } => Some(self.tell(reel, after, until)),
            Job::Find { before } => self.find(before)?,
        };
        Ok(done)
    }

    fn goes_on(&self) -> bool {
        self.seeks.load(Ordering::Relaxed) == self.seek
    }

    fn window(&self, passage: Passage) -> Result<Option<Window>, HistoryError> {
        let properties = |feature: &str, _: &str| self.wanted.has(feature);
        let cast = Cast { things: self.wanted.things.as_deref(), properties: &properties };
        self.historian.window(passage, &cast, &|| self.goes_on())
    }

    fn key_frame(&self, at: Timestamp, after: Option<&str>) -> Result<Option<Done>, HistoryError> {
        let states = match &self.wanted.things {
            None => self.historian.states_at(at, after),
            Some(things) => {
                let begin = after.map_or(0, |after| things.partition_point(|id| **id <= *after));
                self.historian.states_of(things[begin..].to_vec(), at)
            }
        };
        let mut piece = Piece::begin(&[("at", at)]);
        let mut last: Option<Arc<str>> = None;
        for state in states {
            if piece.is_full() || piece.things() == PIECE_THINGS {
                return Ok(Some(Done::KeyFrame { rest: piece.end(0, true), after: last }));
            }
            if !self.goes_on() {
                return Ok(None);
            }
            let mut state = state?;
            state.properties.retain(|property| self.wanted.has(&property.feature));
            piece.thing(&state.thing, &state.properties);
            last = Some(state.thing.into());
        }
        self.stage.metrics.key_frames.inc();
        Ok(Some(Done::KeyFrame { rest: piece.end(0, false), after: None }))
    }

    fn tell(&self, mut reel: Box<Reel>, after: Timestamp, until: Timestamp) -> Done {
        let moments = [("after", after), ("time", until)];
        let mut pieces = Vec::new();
        let mut piece = Piece::begin(&moments);
        let mut values = 0;
        let conflated = reel.window.until(until, |thing, properties: &[PropertyState]| {
            if piece.is_full() {
                let full = std::mem::replace(&mut piece, Piece::begin(&moments));
                pieces.push(full.end(0, true));
            }
            values += properties.len() as u64;
            piece.thing(thing, properties);
        });
        pieces.push(piece.end(conflated, false));
        self.stage.metrics.values.inc_by(values);
        self.stage.metrics.conflated.inc_by(conflated);
        Done::Told { reel, until, pieces }
    }

    /// Looks back in stretches that grow where nothing is found, and shrink where there is too much.
    fn find(&self, before: Timestamp) -> Result<Option<Done>, ApiError> {
        const CELLS_MAX: usize = 100_000;
        let mut until = before.plus_micros(-1);
        let mut length = LOOK_BACK_MICROS;
        while until.as_micros() > BEGINNING_MICROS {
            let after = Timestamp::from_micros(until.plus_micros(-length).as_micros().max(BEGINNING_MICROS));
            let passage = Passage { after, until, every_micros: 0, cells_max: CELLS_MAX };
            let Some(window) = self.window(passage)? else { return Ok(None) };
            if window.end() < until {
                // The later part was given up, and it is what is looked for. An instant is never cut.
                length = (length / 4).max(1);
                continue;
            }
            if let Some(time) = window.last_time() {
                return Ok(Some(Done::Found(Some(time))));
            }
            until = after;
            length = length.saturating_mul(4);
        }
        Ok(Some(Done::Found(None)))
    }
}

/// The failure of a job that did not come back.
pub(super) fn failed() -> ApiError {
    ApiError::new(Code::Internal, "the server failed; its log has more under this traceId")
}
