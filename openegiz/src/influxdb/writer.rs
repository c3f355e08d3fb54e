//! From the journal to the InfluxDB, again and again until all of it is there.
//!
//! ```text
//!  gather: journal ─► own engine ─► lines        the place on disk is where the engine is
//!     │
//!  deliver: whole ─► 204 ───────────────────────► place on disk moves up ─► gather
//!     │        ├───► 400 ─► halves ─► … ─► one field is counted, all others are there
//!     │        └───► no answer, 5xx, 401, 404: a pause, and the same again
//!     └─ more journal waits than may: the oldest is passed over and counted
//! ```
//!
//! One request at a time, so that what came last is written last. Nothing is taken for written before the InfluxDB said so;
//! what was written and not noted, because the program ended in between, is written again, which changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use egiz_influx::answer::Verdict;
use egiz_influx::isolate::{Delivery, Outcome};
use egiz_journal::{Journal, ReadError};
use egiz_model::{Offset, Timestamp};
use egiz_service::RandomSource;
use egiz_service::backoff::Backoff;
use egiz_service::breaker::{Attempt, Breaker, BreakerState};
use egiz_twin::{Engine, Limits};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::hold::Hold;
use super::metrics::InfluxdbMetrics;
use super::naming::NamingRules;
use super::place::{Found, Place};
use super::report::{Lag, Reporter};
use super::shadow::{Gathered, Shadow};
use crate::snapshot::Snapshot;

/// Failures in a row after which only a little is tried.
const BREAKER_OPENS_AFTER: u32 = 3;
/// Lines of which that is.
const PROBE_LINES: usize = 100;
/// How soon an InfluxDB that is away is tried again.
const AWAY: Backoff = Backoff { first: Duration::from_millis(250), cap: Duration::from_secs(30) };
/// How soon one that refuses is: nothing but a person changes that.
const REFUSING: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(30) };
/// How often it is looked how much waits, while it waits.
const LOOK: Duration = Duration::from_millis(100);
/// When the engine is written down again, so that a restart reads little.
const KEEP_RECORDS: u64 = 200_000;
const KEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Likewise when this part of what may be kept of the journal is kept, but not all the time.
const KEEP_BYTES_PART: u64 = 8;
const KEEP_AGAIN: Duration = Duration::from_secs(5);

/// The writer.
pub(crate) struct Writer {
    pub(super) journal: Arc<dyn Journal>,
    /// The live one, for the first start.
    pub(super) engine: Arc<RwLock<Engine>>,
    pub(super) limits: Limits,
    pub(super) rules: NamingRules,
    pub(super) place: Place,
    pub(super) hold: Arc<Hold>,
    pub(super) client: Client,
    pub(super) batch_lines: usize,
    pub(super) flush_interval: Duration,
    pub(super) clock: egiz_server::Clock,
    pub(super) random: RandomSource,
    pub(super) metrics: InfluxdbMetrics,
    pub(super) reporter: Reporter,
}

/// Called when the journal may be let go further.
pub(crate) type OnMoved = Arc<dyn Fn() + Send + Sync>;

/// What became of gathered lines.
enum Delivered {
    All,
    /// Too much waits.
    TooFarBehind,
    Stopped,
}

/// Since when the engine that is written down has been left behind.
struct Kept {
    next: Offset,
    then: Instant,
}

impl Writer {
    /// Writes until `stop`.
    ///
    /// # Errors
    /// Where the journal or the own folder cannot be used; it may be started again, and goes on where it was.
    pub(crate) async fn run(
        self: Arc<Self>,
        on_moved: OnMoved,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let result = Arc::clone(&self).work(&on_moved, &stop).await;
        if let Err(error) = &result {
            self.reporter.broken(&format!("{error:#}"));
        }
        result
    }

    async fn work(self: Arc<Self>, on_moved: &OnMoved, stop: &CancellationToken) -> anyhow::Result<()> {
        let own = Arc::clone(&self);
        let mut shadow = tokio::task::spawn_blocking(move || own.open()).await??;
        let mut breaker = Breaker::new(BREAKER_OPENS_AFTER);
        let mut kept = Kept { next: 0, then: Instant::now() };
        while !stop.is_cancelled() {
            if self.is_worth_keeping(&shadow, &kept) {
                shadow = self.keep(shadow, &mut kept).await?;
                on_moved();
            }
            if self.hold.may_not_keep(shadow.next()) {
                // It answers, yet takes less than comes in.
                shadow = self.pass_over(shadow, 0, 0).await?;
                shadow = self.keep(shadow, &mut kept).await?;
                on_moved();
            }
            let from = shadow.next();
            let (back, gathered) = self.gather(shadow).await?;
            shadow = back;
            let Some(gathered) = gathered else { continue };
            let Gathered { lines, records, since, is_end, .. } = gathered;
            if !lines.is_empty() {
                let mut delivery = Delivery::new(lines, self.batch_lines);
                let came = self.deliver(&mut delivery, (from, since), &mut breaker, stop).await;
                self.count(&delivery);
                match came {
                    Delivered::Stopped => return Ok(()),
                    Delivered::All => {
                        self.metrics.batches.inc();
                    }
                    Delivered::TooFarBehind => {
                        let values = delivery.remaining_fields() as u64;
                        shadow = self.pass_over(shadow, records, values).await?;
                        shadow = self.keep(shadow, &mut kept).await?;
                        on_moved();
                        continue;
                    }
                }
                self.set_place(shadow.next()).await?;
            }
            let lag = self.lag(shadow.next(), None);
            self.reporter.writing(lag);
            if is_end && !self.pause(self.flush_interval, stop).await {
                break;
            }
        }
        self.keep(shadow, &mut kept).await?;
        Ok(())
    }

    /// Comes to where the folder says that it was.
    fn open(&self) -> anyhow::Result<Shadow> {
        let Found { snapshot, next, damaged } =
            self.place.find().context("the folder influxdb cannot be read")?;
        for damage in damaged {
            tracing::warn!(damage, "a file of the writer to the InfluxDB is damaged and passed over");
        }
        let Some(snapshot) = snapshot else { return self.begin(next, "the place in the journal is damaged") };
        if next > self.journal.status().next {
            return self.begin(self.journal.status().next, "the journal ends before the place where it was");
        }
        self.hold.move_to(snapshot.next_offset);
        let mut shadow =
            Shadow::restore(Arc::clone(&self.journal), &snapshot, self.limits, self.rules.clone())?;
        match shadow.pass_over(next) {
            Err(ReadError::Trimmed { .. }) => {
                self.begin(next, "the journal does not reach back to them any more")
            }
            result => {
                result.context("the journal cannot be read")?;
                Ok(shadow)
            }
        }
    }

    /// Begins with what comes from now on; what lies between is lost to the InfluxDB, and said.
    fn begin(&self, from: Offset, why: &str) -> anyhow::Result<Shadow> {
        let snapshot = live_snapshot(&self.engine);
        let next = snapshot.next_offset;
        if next > from {
            self.metrics.skipped_records.inc_by(next - from);
            self.reporter.skipped(next - from, why);
        }
        self.place.begin(next, snapshot.engine.clone()).context("the folder influxdb cannot be written")?;
        self.hold.move_to(next);
        Shadow::restore(Arc::clone(&self.journal), &snapshot, self.limits, self.rules.clone())
    }

    /// Gathers lines; nothing where it had to begin anew.
    async fn gather(self: &Arc<Self>, mut shadow: Shadow) -> anyhow::Result<(Shadow, Option<Gathered>)> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || match shadow.gather(own.batch_lines) {
            Ok(gathered) => {
                own.metrics.rejected.inc_by(gathered.unnameable);
                Ok((shadow, Some(gathered)))
            }
            Err(ReadError::Trimmed { .. }) => {
                let why = "the journal does not reach back to them any more";
                Ok((own.begin(shadow.next(), why)?, None))
            }
            Err(error) => Err(error).context("the journal cannot be read"),
        })
        .await?
    }

    async fn deliver(
        &self,
        delivery: &mut Delivery,
        (from, since): (Offset, Option<Timestamp>),
        breaker: &mut Breaker,
        stop: &CancellationToken,
    ) -> Delivered {
        loop {
            let now = Instant::now();
            self.metrics.breaker.set(match breaker.state(now) {
                BreakerState::Closed => 0,
                BreakerState::Open => 1,
                BreakerState::HalfOpen => 2,
            });
            match breaker.attempt(now) {
                Attempt::Whole => {}
                Attempt::Probe => delivery.shorten_next(PROBE_LINES),
                Attempt::Wait(pause) => {
                    if !self.pause(pause.min(LOOK), stop).await {
                        return Delivered::Stopped;
                    }
                    self.lag(from, since);
                    if self.hold.may_not_keep(from) {
                        return Delivered::TooFarBehind;
                    }
                    continue;
                }
            }
            let Some(lines) = delivery.next() else { return Delivered::All };
            let (lines, count) = (lines.to_owned(), lines.lines().count());
            let answer = tokio::select! {
                answer = self.client.write(lines) => answer,
                () = stop.cancelled() => return Delivered::Stopped,
            };
            self.metrics.request_seconds.observe(now.elapsed().as_secs_f64());
            let is_taken = answer.verdict == Verdict::Taken;
            match delivery.answered(answer.verdict) {
                Outcome::GoesOn => {
                    breaker.succeeded();
                    if is_taken {
                        self.metrics.lines.inc_by(count as u64);
                    }
                }
                Outcome::Waits { reason, is_refused } => {
                    self.metrics.retries.inc();
                    let backoff = if is_refused { REFUSING } else { AWAY };
                    let pause = backoff.random_delay(breaker.failures() + 1, &self.random);
                    let pause = pause.max(answer.pause.unwrap_or_default());
                    breaker.failed(Instant::now(), pause);
                    self.reporter.waiting(&reason, is_refused, pause, self.lag(from, since));
                }
            }
        }
    }

    /// Counts what a delivery came to.
    fn count(&self, delivery: &Delivery) {
        let rejected = delivery.rejected_fields() as u64;
        let values = (delivery.lines().fields() - delivery.remaining_fields()) as u64;
        self.metrics.values.inc_by(values.saturating_sub(rejected));
        if rejected > 0 {
            self.metrics.rejected.inc_by(rejected);
            self.reporter.rejected(rejected, delivery.rejected());
        }
    }

    /// Lets the oldest go: what was gathered, and all that is more than may be kept.
    async fn pass_over(
        self: &Arc<Self>,
        mut shadow: Shadow,
        records: u64,
        values: u64,
    ) -> anyhow::Result<Shadow> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let before = own.hold.oldest_after_all();
            let passed = match shadow.pass_over(before) {
                Err(ReadError::Trimmed { .. }) => {
                    return own.begin(shadow.next(), "the journal does not reach back to them any more");
                }
                result => result.context("the journal cannot be read")?,
            };
            let (records, values) = (records + passed.0, values + passed.1);
            own.metrics.skipped_records.inc_by(records);
            own.metrics.skipped_values.inc_by(values);
            let why = format!(
                "it is away, or too slow, for so long that more of the journal waits than influxdb.max_behind_bytes = {}",
                own.hold.bytes_max
            );
            own.reporter.skipped(records, &why);
            own.place.set(shadow.next()).context("the folder influxdb cannot be written")?;
            Ok(shadow)
        })
        .await?
    }

    async fn set_place(self: &Arc<Self>, next: Offset) -> anyhow::Result<()> {
        let place = self.place.clone();
        let result = tokio::task::spawn_blocking(move || place.set(next)).await?;
        result.context("the place in the journal cannot be written")
    }

    fn is_worth_keeping(&self, shadow: &Shadow, kept: &Kept) -> bool {
        shadow.next() > kept.next
            && (shadow.next() - kept.next >= KEEP_RECORDS
                || kept.then.elapsed() >= KEEP_INTERVAL
                || (kept.then.elapsed() >= KEEP_AGAIN
                    && self.hold.bytes() > self.hold.bytes_max / KEEP_BYTES_PART))
    }

    /// Writes down where it is, engine and all; from there on the journal is needed.
    async fn keep(self: &Arc<Self>, shadow: Shadow, kept: &mut Kept) -> anyhow::Result<Shadow> {
        let own = Arc::clone(self);
        let shadow = tokio::task::spawn_blocking(move || {
            let next = shadow.next();
            own.place.keep(next, shadow.snapshot()).context("the folder influxdb cannot be written")?;
            own.hold.move_to(next);
            anyhow::Ok(shadow)
        })
        .await??;
        *kept = Kept { next: shadow.next(), then: Instant::now() };
        Ok(shadow)
    }

    /// How much waits; told to the metrics as well.
    fn lag(&self, next: Offset, since: Option<Timestamp>) -> Lag {
        let micros = since.map_or(0, |since| (self.clock)().micros_since(since).max(0));
        #[expect(clippy::cast_precision_loss, reason = "seconds, for people")]
        let lag = Lag {
            records: self.journal.status().next.saturating_sub(next),
            seconds: micros as f64 / 1_000_000.0,
        };
        self.metrics.lag_records.set(i64::try_from(lag.records).unwrap_or(i64::MAX));
        self.metrics.lag_seconds.set(lag.seconds);
        self.metrics.journal_bytes.set(i64::try_from(self.hold.bytes()).unwrap_or(i64::MAX));
        lag
    }

    /// Returns whether it goes on.
    async fn pause(&self, pause: Duration, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = stop.cancelled() => false,
        }
    }
}

/// The live engine as it is now.
pub(super) fn live_snapshot(engine: &RwLock<Engine>) -> Snapshot {
    let mut bytes = Vec::new();
    let engine = engine.read();
    engine.snapshot(&mut bytes);
    Snapshot { next_offset: engine.next_offset(), engine: bytes, retained: Vec::new(), sessions: Vec::new() }
}
