//! One playback: where it is, what it does next, and what it has the blocking threads do.
//!
//! ```text
//!            seek, step back                       window told, next one there
//!            ┌─────────────┐                            ┌───────┐
//!  play ─► KeyFrame ─► Running ─ tick: Tell up to where the clock is ─┘
//!               ▲          │ ├─ nothing read yet: it stands, and the clock with it
//!               │          │ └─ `until`, or the present: Ended, paused
//!               └ Finding ◄┘ step to the value before
//! ```
//!
//! It is told what the time is, gives out jobs, and is given what came of them: no clock, no task, no socket. At most one job
//! that tells and one that reads ahead are under way, also after a hundred seeks; what comes of one from before a seek is
//! thrown away. The clock runs only while there is something to tell from, so a playback that had to wait goes on where it was.
//! One that is asked late, because its client's socket was full, tells the last value of everything up to where it should be.

use std::sync::Arc;
use std::time::Duration;

use egiz_api::playback::{PlaybackEnd, PlaybackState};
use egiz_historian::Passage;
use egiz_model::Timestamp;
use tokio::time::Instant;

use super::request::Step;
use super::work::{Done, Job, Reel};

/// So far behind the wall clock a playback ends: what devices measured since may still be on its way.
pub(super) const EDGE_MICROS: i64 = 2_000_000;
/// With so much or less before the present, what is read is the last to be read.
const NEAR_MICROS: i64 = 5_000_000;
/// Up to this speed every value is read; above it only the last one of each property in each tick, for the rest could not be
/// told anyway.
const EVERY_VALUE_SPEED: f64 = 60.0;
/// A stretch that is read is meant to last so long.
const STRETCH_SECONDS: f64 = 20.0;
const STRETCH_MICROS: std::ops::RangeInclusive<i64> = 60_000_000..=6 * 3_600_000_000;
/// A client is told at least this often that its playback goes on.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) at: Timestamp,
    pub(super) until: Option<Timestamp>,
    pub(super) speed: f64,
    pub(super) tick: Duration,
    pub(super) is_paused: bool,
    pub(super) cells_max: usize,
}

/// What a client is told: the event's name, and the members behind its `seq`.
pub(super) type Told = (&'static str, Vec<u8>);

/// See the module.
pub(super) struct Player {
    beginning: Beginning,
    speed: f64,
    is_playing: bool,
    /// Everything up to it, included, is told.
    position: Timestamp,
    /// Where the client knows it to be; nothing was measured since.
    known_at: Timestamp,
    phase: Phase,
    /// Where a step goes.
    goal: Option<Goal>,
    /// When the clock began to run, and where the playback was.
    paced: Option<(Instant, Timestamp)>,
    next_tick: Instant,
    /// From which it is told; away while a job tells from it.
    reel: Option<Box<Reel>>,
    ahead: Option<Box<Reel>>,
    /// Up to where history was read.
    front: Timestamp,
    length_micros: i64,
    is_telling: bool,
    is_reading: bool,
    is_waiting: bool,
    last_told: Instant,
    stalls: u64,
}

#[derive(Debug, Clone)]
enum Phase {
    /// A key frame is being sent: the Things behind this one are to come.
    KeyFrame {
        after: Option<Arc<str>>,
    },
    /// The time of the value before is looked for.
    Finding,
    Running,
}

#[derive(Debug, Clone, Copy)]
enum Goal {
    At(Timestamp),
    Next,
}

impl Player {
    pub(super) fn new(beginning: Beginning, now: Instant) -> Self {
        Self {
            speed: beginning.speed,
            is_playing: !beginning.is_paused,
            position: beginning.at,
            known_at: beginning.at,
            phase: Phase::KeyFrame { after: None },
            goal: None,
            paced: None,
            next_tick: now,
            reel: None,
            ahead: None,
            front: beginning.at,
            length_micros: 0,
            is_telling: false,
            is_reading: false,
            is_waiting: false,
            last_told: now,
            stalls: 0,
            beginning,
        }
    }

    pub(super) fn position(&self) -> Timestamp {
        self.position
    }

    /// How often it stood because nothing was read yet, since this was asked last.
    pub(super) fn take_stalls(&mut self) -> u64 {
        std::mem::take(&mut self.stalls)
    }

    pub(super) fn pause(&mut self) {
        self.is_playing = false;
        self.goal = None;
        self.paced = None;
    }

    pub(super) fn resume(&mut self, now: Instant) {
        self.is_playing = true;
        self.goal = None;
        self.paced = None;
        self.next_tick = now;
    }

    pub(super) fn set_speed(&mut self, speed: f64) {
        self.speed = speed;
        self.paced = None;
    }

    /// Goes to another time: a key frame comes. What is under way is for nothing.
    pub(super) fn seek(&mut self, at: Timestamp) {
        self.position = at;
        self.front = at;
        self.phase = Phase::KeyFrame { after: None };
        self.goal = None;
        self.paced = None;
        self.reel = None;
        self.ahead = None;
    }

    /// Goes a step, paused. Returns whether what is under way is for nothing.
    pub(super) fn step(&mut self, step: Step) -> bool {
        self.pause();
        match step {
            Step::By(micros) if micros < 0 => {
                self.seek(self.position.plus_micros(micros));
                return true;
            }
            Step::By(micros) => self.goal = Some(Goal::At(self.position.plus_micros(micros))),
            Step::Next => self.goal = Some(Goal::Next),
            Step::Previous => {
                self.seek(self.position);
                self.phase = Phase::Finding;
                return true;
            }
        }
        false
    }

    /// When it wants to be driven again, if nothing else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_ticking = self.is_playing && !self.is_telling && matches!(self.phase, Phase::Running);
        (is_ticking && (self.reel.is_some() || self.ahead.is_some())).then_some(self.next_tick)
    }

    /// Goes on as far as it can: what the client is told, and what is to be done.
    pub(super) fn drive(&mut self, now: Instant, wall: Timestamp, told: &mut Vec<Told>) -> Vec<Job> {
        let edge = wall.plus_micros(-EDGE_MICROS);
        let limit = self.beginning.until.map_or(edge, |until| until.min(edge));
        let mut jobs = Vec::new();
        if !self.is_telling {
            self.drop_coarse();
            let job = match &self.phase {
                Phase::KeyFrame { after } => Some(Job::KeyFrame { at: self.position, after: after.clone() }),
                Phase::Finding => Some(Job::Find { before: self.position }),
                Phase::Running => self.advance(now, limit, told),
            };
            self.is_telling = job.is_some();
            jobs.extend(job);
        }
        jobs.extend(self.read_ahead(limit));
        jobs
    }

    /// Takes what came of a job.
    pub(super) fn take(&mut self, done: Done, now: Instant, told: &mut Vec<Told>) {
        if !done.is_reading() {
            self.is_telling = false;
        }
        match done {
            Done::KeyFrame { rest, after } => {
                self.tell(now, told, ("KeyFrame", rest));
                self.phase = if after.is_some() { Phase::KeyFrame { after } } else { Phase::Running };
                self.next_tick = now;
            }
            Done::Told { reel, until, pieces } => {
                self.position = until;
                pieces.into_iter().for_each(|rest| self.tell(now, told, ("Changes", rest)));
                self.reel = Some(reel);
                self.reach(now, told, true);
            }
            Done::Read(reel) => {
                self.is_reading = false;
                let asked_micros = reel.asked.micros_since(reel.after);
                let is_short = reel.window.end() < reel.asked;
                let read_micros = reel.window.end().micros_since(reel.after);
                self.length_micros = if is_short { read_micros } else { asked_micros.saturating_mul(2) };
                if reel.after == self.front && reel.every_micros <= self.every_micros() {
                    self.front = reel.window.end();
                    self.ahead = Some(reel);
                }
            }
            Done::Found(Some(time)) => self.seek(time),
            Done::Found(None) => {
                self.phase = Phase::Running;
                self.tell_position(now, told, PlaybackState::Paused);
            }
        }
    }

    /// Takes that a job from before a seek is over.
    pub(super) fn forget(&mut self, was_reading: bool) {
        if was_reading {
            self.is_reading = false;
        } else {
            self.is_telling = false;
        }
    }

    /// The next thing to tell, if there is any.
    fn advance(&mut self, now: Instant, limit: Timestamp, told: &mut Vec<Told>) -> Option<Job> {
        loop {
            if !self.is_playing && self.goal.is_none() {
                return None;
            }
            let is_told = self.reel.as_ref().is_none_or(|reel| self.position >= reel.window.end());
            if is_told {
                let was_last = self.reel.as_ref().is_some_and(|reel| reel.is_last);
                self.reel = self.ahead.take();
                let left_micros = limit.micros_since(self.position);
                // The present moves on, also while a playback stands.
                let is_near = left_micros <= 0 || was_last && left_micros <= NEAR_MICROS;
                if self.reel.is_none() && is_near {
                    self.end(now, told);
                    return None;
                }
            }
            let Some(reel) = &self.reel else {
                self.wait(now, told);
                return None;
            };
            self.is_waiting = false;
            let end = reel.window.end();
            let target = match self.goal {
                Some(Goal::At(time)) => time.min(end),
                Some(Goal::Next) => reel.window.next_time().unwrap_or(end),
                None if now < self.next_tick => return None,
                None => {
                    self.next_tick = now + self.beginning.tick;
                    let (since, from) = *self.paced.get_or_insert((now, self.position));
                    reel.step_before(from.plus_micros(micros(now.duration_since(since), self.speed)))
                }
            };
            if target <= self.position {
                self.beat(now, told);
                return None;
            }
            let has_any = reel.window.next_time().is_some_and(|time| time <= target);
            if has_any {
                let reel = self.reel.take()?;
                return Some(Job::Tell { reel, after: self.known_at, until: target });
            }
            self.position = target;
            self.reach(now, told, false);
            if self.goal.is_none() {
                self.beat(now, told);
                // What is left of the clock's time may be in the next stretch.
                if target < end || !self.is_playing {
                    return None;
                }
                self.next_tick = now;
                self.ahead.as_ref()?;
            }
        }
    }

    /// Ends a step that is where it wanted to be.
    fn reach(&mut self, now: Instant, told: &mut Vec<Told>, was_told: bool) {
        let is_reached = match self.goal {
            Some(Goal::At(time)) => self.position >= time,
            Some(Goal::Next) => was_told,
            None => false,
        };
        if is_reached {
            self.goal = None;
            self.tell_position(now, told, PlaybackState::Paused);
        }
    }

    fn end(&mut self, now: Instant, told: &mut Vec<Told>) {
        let is_until = self.beginning.until.is_some_and(|until| self.position >= until);
        let reason = if is_until { PlaybackEnd::Until } else { PlaybackEnd::LiveEdge };
        self.pause();
        // What comes after is not read yet.
        self.reel = None;
        self.front = self.position;
        let rest = format!(",\"time\":\"{}\",\"reason\":\"{}\"}}", self.position, reason.as_str());
        self.tell(now, told, ("Ended", rest.into_bytes()));
    }

    /// Stands until something is read; the clock stands, too.
    fn wait(&mut self, now: Instant, told: &mut Vec<Told>) {
        let was_running = self.paced.take().is_some();
        if !std::mem::replace(&mut self.is_waiting, true) && was_running {
            self.stalls += 1;
            self.tell_position(now, told, PlaybackState::Waiting);
        }
    }

    fn beat(&mut self, now: Instant, told: &mut Vec<Told>) {
        if self.is_playing && now.duration_since(self.last_told) >= HEARTBEAT {
            self.tell_position(now, told, PlaybackState::Playing);
        }
    }

    fn tell_position(&mut self, now: Instant, told: &mut Vec<Told>, state: PlaybackState) {
        let (time, state, speed) = (self.position, state.as_str(), self.speed);
        let rest = format!(",\"time\":\"{time}\",\"state\":\"{state}\",\"speed\":{speed}}}");
        self.tell(now, told, ("Position", rest.into_bytes()));
    }

    fn tell(&mut self, now: Instant, told: &mut Vec<Told>, what: Told) {
        self.last_told = now;
        self.known_at = self.position;
        told.push(what);
    }

    /// What is to be read next, while something else is told.
    fn read_ahead(&mut self, limit: Timestamp) -> Option<Job> {
        let left_micros = limit.micros_since(self.front);
        // Near the present only when nothing else is left, so that it is not read second by second.
        let goes_on = self.is_playing || self.goal.is_some();
        let is_worth_it =
            left_micros > NEAR_MICROS || left_micros > 0 && goes_on && self.position >= self.front;
        if self.is_reading || self.ahead.is_some() || matches!(self.phase, Phase::Finding) || !is_worth_it {
            return None;
        }
        self.is_reading = true;
        let every_micros = self.every_micros();
        #[expect(clippy::cast_possible_truncation, reason = "hours at most")]
        let wished = ((self.speed * STRETCH_SECONDS * 1e6) as i64)
            .clamp(*STRETCH_MICROS.start(), *STRETCH_MICROS.end());
        let mut length = if self.length_micros > 0 { self.length_micros.min(wished) } else { wished };
        if every_micros > 0 {
            length = (length / every_micros).max(1) * every_micros;
        }
        let until = self.front.plus_micros(length).min(limit);
        let is_last = self.beginning.until == Some(until) || until == limit && left_micros <= NEAR_MICROS;
        let cells_max = self.beginning.cells_max;
        Some(Job::Read { passage: Passage { after: self.front, until, every_micros, cells_max }, is_last })
    }

    /// In which steps is read.
    fn every_micros(&self) -> i64 {
        if self.goal.is_some() || self.speed <= EVERY_VALUE_SPEED {
            0
        } else {
            micros(self.beginning.tick, self.speed)
        }
    }

    /// Gives up what was read in coarser steps than are wanted.
    fn drop_coarse(&mut self) {
        let every = self.every_micros();
        let is_coarse =
            |reel: &Option<Box<Reel>>| reel.as_ref().is_some_and(|reel| reel.every_micros > every);
        if is_coarse(&self.reel) || is_coarse(&self.ahead) {
            self.reel = None;
            self.ahead = None;
            self.front = self.position;
        }
    }
}

/// The plant's time that goes by at a speed.
fn micros(wall: Duration, speed: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond the range is held within it")]
    let micros = (wall.as_secs_f64() * speed * 1e6).round() as i64;
    micros
}

#[cfg(test)]
mod tests;
