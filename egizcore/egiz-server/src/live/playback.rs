//! Playing the past: from a time on at a chosen speed, a key frame first and then what changed, seekable both ways.
//!
//! ```text
//!  command ─► Player ─ jobs ─► blocking threads ─► historian: key frame, windows (read ahead)
//!                └─ frames ◄───────┘ one tick: the last value of each property
//! ```
//!
//! It pulls: nothing is computed for a client before what it got last is written to its socket, and a client that comes late
//! gets the last value of everything in between. So there is no queue that could fill up; what a playback holds is two windows
//! of at most [`HubSettings::playback_cells_max`](super::HubSettings::playback_cells_max) cells. It refuses to follow the
//! present: at the live edge it ends, and a subscription goes on.

mod player;
mod request;
mod stage;
mod work;
mod write;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use egiz_api::Code;
use egiz_historian::Historian;
use egiz_model::Timestamp;
use egiz_twin::interest::Target;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use self::player::{Beginning, Player};
use self::request::Play;
pub(crate) use self::request::{Command, members_of, read};
use self::stage::Place;
pub(crate) use self::stage::Stage;
use self::work::{Done, Job, Wanted, Worker};
use super::request::refused;
use crate::error::ApiError;
use crate::ports::Ports;
use crate::things::read::no_thing;
use crate::{history, query};

/// The playbacks of one client.
pub(crate) struct Playbacks {
    ports: Ports,
    /// The client's correlation id.
    correlation: Arc<str>,
    known: BTreeMap<u32, Playback>,
    next_number: u32,
    /// At most two a playback, and those of playbacks that were stopped until they see it.
    under_way: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// What waits to be taken, since commands have an answer that comes first.
    told: Vec<Waiting>,
}

struct Playback {
    player: Player,
    seq: Arc<AtomicU64>,
    historian: Arc<Historian>,
    wanted: Arc<Wanted>,
    /// Counts its seeks, so that what is under way sees that it is for nothing.
    seeks: Arc<AtomicU64>,
    _place: Place,
}

impl Drop for Playback {
    fn drop(&mut self) {
        self.seeks.fetch_add(1, Ordering::Relaxed);
    }
}

/// What came of a job.
struct Outcome {
    playback: u32,
    seek: u64,
    is_reading: bool,
    result: Result<Option<Done>, ApiError>,
}

/// A frame that has no number yet: a seek takes it back.
struct Waiting {
    playback: u32,
    seq: Arc<AtomicU64>,
    event: &'static str,
    rest: Vec<u8>,
}

/// A frame: its playback, its place in the sequence, its name, and the members behind up to the closing brace.
pub(crate) struct Frame {
    pub(crate) playback: u32,
    pub(crate) seq: u64,
    pub(crate) event: &'static str,
    pub(crate) rest: Vec<u8>,
}

impl Playbacks {
    pub(crate) fn new(ports: Ports, correlation: Arc<str>) -> Self {
        Self {
            ports,
            correlation,
            known: BTreeMap::new(),
            next_number: 1,
            under_way: FuturesUnordered::new(),
            told: Vec::new(),
        }
    }

    /// Carries out a command, and gives the members of its answer. What comes of it is told by [`Self::next`].
    ///
    /// # Errors
    /// `malformed-request` where there is no such playback, or the time lies in the future; `history-off`, `limit-reached`,
    /// `overloaded` and `thing-not-found` of `play`.
    pub(crate) async fn command(&mut self, command: Command) -> Result<Value, ApiError> {
        let now = Instant::now();
        let number = match command {
            Command::Play(play) => self.play(*play).await?,
            Command::Stop(number) => {
                let stopped = self.known.remove(&number).ok_or_else(|| unknown(number))?;
                self.told.retain(|frame| frame.playback != number);
                return Ok(json!({"playback": number, "time": stopped.player.position()}));
            }
            Command::Pause(number) => {
                self.playback(number)?.player.pause();
                number
            }
            Command::Resume(number) => {
                self.playback(number)?.player.resume(now);
                number
            }
            Command::Speed(number, speed) => {
                self.playback(number)?.player.set_speed(speed);
                number
            }
            Command::Seek(number, at) => {
                let wall = (self.ports.clock)();
                let playback = self.playback(number)?;
                not_in_the_future(at, wall)?;
                playback.player.seek(at);
                playback.seeks.fetch_add(1, Ordering::Relaxed);
                self.told.retain(|frame| frame.playback != number);
                number
            }
            Command::Step(number, step) => {
                let playback = self.playback(number)?;
                if playback.player.step(step) {
                    playback.seeks.fetch_add(1, Ordering::Relaxed);
                }
                number
            }
        };
        let time = self.playback(number)?.player.position();
        self.drive(number, now);
        Ok(json!({"playback": number, "time": time}))
    }

    /// The frames that come next; waits for ever where nothing is played.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Vec<Frame> {
        loop {
            if !self.told.is_empty() {
                return self.told.drain(..).map(Waiting::into_frame).collect();
            }
            let due = self.known.values().filter_map(|playback| playback.player.due()).min();
            tokio::select! {
                Some(outcome) = self.under_way.next(), if !self.under_way.is_empty() => self.take(outcome),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    let is_due = |playback: &Playback| playback.player.due().is_some_and(|due| due <= now);
                    let due: Vec<u32> =
                        self.known.iter().filter(|(_, known)| is_due(known)).map(|(number, _)| *number).collect();
                    due.into_iter().for_each(|number| self.drive(number, now));
                }
                else => std::future::pending().await,
            }
        }
    }

    async fn play(&mut self, play: Play) -> Result<u32, ApiError> {
        let Some(historian) = self.ports.history.clone() else { return Err(history::off()) };
        not_in_the_future(play.at, (self.ports.clock)())?;
        let settings = self.ports.hub.settings();
        let limit = settings.playbacks_per_client_max;
        // What was stopped counts until it has ended.
        if self.known.len().max(self.under_way.len() / 2) >= limit {
            return Err(ApiError::new(Code::LimitReached, format!("a client may have {limit} playbacks")));
        }
        let place = self.ports.hub.playback().enter(settings.playbacks_max)?;
        let cells_max = settings.playback_cells_max;
        let Play { target, features, at, until, speed, tick, is_paused } = play;
        let things = things_of(&self.ports, &historian, target).await?;
        let beginning = Beginning { at, until, speed, tick, is_paused, cells_max };
        let number = self.next_number;
        self.next_number += 1;
        let playback = Playback {
            player: Player::new(beginning, Instant::now()),
            seq: Arc::default(),
            historian,
            wanted: Arc::new(Wanted { things, features }),
            seeks: Arc::new(AtomicU64::new(0)),
            _place: place,
        };
        self.known.insert(number, playback);
        Ok(number)
    }

    fn playback(&mut self, number: u32) -> Result<&mut Playback, ApiError> {
        self.known.get_mut(&number).ok_or_else(|| unknown(number))
    }

    fn take(&mut self, outcome: Outcome) {
        let Outcome { playback: number, seek, is_reading, result } = outcome;
        // Stopped meanwhile, maybe.
        let Entry::Occupied(mut known) = self.known.entry(number) else { return };
        let playback = known.get_mut();
        let now = Instant::now();
        let is_for_nothing = playback.seeks.load(Ordering::Relaxed) != seek;
        let mut told = Vec::new();
        match result {
            Ok(Some(done)) if !is_for_nothing => playback.player.take(done, now, &mut told),
            Ok(_) => playback.player.forget(is_reading),
            Err(_) if is_for_nothing => playback.player.forget(is_reading),
            Err(ApiError(mut problem)) => {
                problem.trace_id = Some(self.correlation.to_string());
                let problem = serde_json::to_string(&problem).unwrap_or_default();
                told.push(("Failed", format!(",\"problem\":{problem}}}").into_bytes()));
                playback.queue(number, told, &mut self.told);
                known.remove();
                return;
            }
        }
        playback.queue(number, told, &mut self.told);
        self.drive(number, now);
    }

    fn drive(&mut self, number: u32, now: Instant) {
        let wall = (self.ports.clock)();
        let stage = Arc::clone(self.ports.hub.playback());
        let Some(playback) = self.known.get_mut(&number) else { return };
        let mut told = Vec::new();
        let jobs = playback.player.drive(now, wall, &mut told);
        stage.metrics.stalls.inc_by(playback.player.take_stalls());
        playback.queue(number, told, &mut self.told);
        for job in jobs {
            let worker = Worker {
                historian: Arc::clone(&playback.historian),
                wanted: Arc::clone(&playback.wanted),
                stage: Arc::clone(&stage),
                seeks: Arc::clone(&playback.seeks),
                seek: playback.seeks.load(Ordering::Relaxed),
            };
            self.under_way.push(Box::pin(carry_out(number, worker, job)));
        }
    }
}

impl Playback {
    /// Puts frames where they wait.
    fn queue(&self, number: u32, told: Vec<player::Told>, waiting: &mut Vec<Waiting>) {
        waiting.extend(told.into_iter().map(|(event, rest)| Waiting {
            playback: number,
            seq: Arc::clone(&self.seq),
            event,
            rest,
        }));
    }
}

impl Waiting {
    fn into_frame(self) -> Frame {
        let Self { playback, seq, event, rest } = self;
        Frame { playback, seq: seq.fetch_add(1, Ordering::Relaxed) + 1, event, rest }
    }
}

/// Does a job on a blocking thread, when it is its turn.
async fn carry_out(playback: u32, worker: Worker, job: Job) -> Outcome {
    let (seek, is_reading) = (worker.seek, job.is_reading());
    let working = async {
        let turn = match job.needs_a_turn() {
            true => {
                let readings = Arc::clone(&worker.stage.readings);
                Some(readings.acquire_owned().await.map_err(|_| work::failed())?)
            }
            false => None,
        };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            worker.do_job(job)
        });
        done.await.map_err(|_| work::failed())?
    };
    Outcome { playback, seek, is_reading, result: working.await }
}

/// The Things that are meant, by id; none for all.
async fn things_of(
    ports: &Ports,
    historian: &Arc<Historian>,
    target: Target,
) -> Result<Option<Vec<Arc<str>>>, ApiError> {
    let mut ids: Vec<Arc<str>> = match target {
        Target::All => return Ok(None),
        Target::Things(things) => {
            let ids: Vec<Arc<str>> = things.iter().map(|id| id.as_str().into()).collect();
            let unknown: Vec<Arc<str>> = {
                let engine = ports.engine.read();
                ids.iter().filter(|id| engine.thing(id).is_none()).cloned().collect()
            };
            if !unknown.is_empty() {
                let historian = Arc::clone(historian);
                let never = move || unknown.into_iter().find(|id| !historian.knows(id));
                let never = tokio::task::spawn_blocking(never).await.map_err(|_| work::failed())?;
                if let Some(id) = never {
                    return Err(no_thing(&id));
                }
            }
            ids
        }
        Target::Filter(filter) => {
            query::on_engine_of(ports, move |engine| {
                let matching = engine.things().filter(|thing| filter.matches(*thing));
                matching.map(|thing| Arc::from(thing.id().as_str())).collect()
            })
            .await?
        }
    };
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

fn not_in_the_future(at: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    if at > now {
        return Err(refused("at", &format!("{at} lies in the future; allowed is any time up to now, {now}")));
    }
    Ok(())
}

fn unknown(number: u32) -> ApiError {
    refused("playback", &format!("there is no playback {number}"))
}
