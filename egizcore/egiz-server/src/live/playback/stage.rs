//! What all playbacks of a server share: places for them, turns at reading history, and what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use egiz_api::{Code, Problem};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Readings of history for playbacks that are under way at once; more wait for their turn, so that charts and queries, which
/// have turns of their own, are not crowded out.
const READINGS_AT_ONCE: usize = 2;

/// What all playbacks share.
pub(crate) struct Stage {
    places: AtomicUsize,
    /// Turns at reading.
    pub(super) readings: Arc<Semaphore>,
    pub(super) metrics: Metrics,
}

/// What playbacks count.
#[derive(Debug)]
pub(super) struct Metrics {
    /// `egiz_server_playback_players`: playbacks now.
    players: Gauge<u64, AtomicU64>,
    /// `egiz_server_playback_refused_total`: playbacks refused because there were as many as may be.
    pub(super) refused: Counter,
    /// `egiz_server_playback_key_frames_total`: key frames sent, whole.
    pub(super) key_frames: Counter,
    /// `egiz_server_playback_values_total`: values sent as changes.
    pub(super) values: Counter,
    /// `egiz_server_playback_conflated_values_total`: values for which a later one was sent.
    pub(super) conflated: Counter,
    /// `egiz_server_playback_stalls_total`: times that a playback stood because history was still being read.
    pub(super) stalls: Counter,
    /// `egiz_server_playback_read_seconds`: how long the reading of a stretch of history took, without the wait for a turn.
    pub(super) read_seconds: Histogram,
}

impl Stage {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Metrics {
            players: Gauge::default(),
            refused: Counter::default(),
            key_frames: Counter::default(),
            values: Counter::default(),
            conflated: Counter::default(),
            stalls: Counter::default(),
            read_seconds: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
            ]),
        };
        let m = &metrics;
        registry.register("egiz_server_playback_players", "Playbacks now", m.players.clone());
        registry.register(
            "egiz_server_playback_refused",
            "Playbacks refused because there were as many as may be",
            m.refused.clone(),
        );
        registry.register("egiz_server_playback_key_frames", "Key frames sent", m.key_frames.clone());
        registry.register("egiz_server_playback_values", "Values sent as changes", m.values.clone());
        registry.register(
            "egiz_server_playback_conflated_values",
            "Values for which a later one was sent",
            m.conflated.clone(),
        );
        registry.register(
            "egiz_server_playback_stalls",
            "Times that a playback stood because history was still being read",
            m.stalls.clone(),
        );
        registry.register(
            "egiz_server_playback_read_seconds",
            "How long the reading of a stretch of history took, in seconds",
            m.read_seconds.clone(),
        );
        Self { places: AtomicUsize::new(0), readings: Arc::new(Semaphore::new(READINGS_AT_ONCE)), metrics }
    }

    /// A place for a playback, given back when dropped.
    ///
    /// # Errors
    /// `overloaded` where there are `most` already.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Result<Place, ApiError> {
        let taken = self.places.fetch_add(1, Ordering::AcqRel);
        self.metrics.players.inc();
        let place = Place(Arc::clone(self));
        if taken < most {
            return Ok(place);
        }
        self.metrics.refused.inc();
        Err(Problem::new(Code::Overloaded, "there are as many playbacks as allowed")
            .limit(most as u64)
            .retry_after(5)
            .into())
    }
}

/// A playback's place.
pub(super) struct Place(Arc<Stage>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.players.dec();
    }
}
