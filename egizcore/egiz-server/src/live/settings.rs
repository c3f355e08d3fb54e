//! Bounds of live subscriptions.

use std::time::Duration;

/// Bounds of live subscriptions.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Clients at once; more are answered 503.
    pub clients_max: usize,
    /// Applied batches that wait while clients subscribe; beyond it the apply thread waits, too.
    pub handed_over_max: usize,
    /// Events that wait for one subscription; then it gets the newest state instead.
    pub mailbox_events: usize,
    /// Things and features whose newest state may be owed to one subscription; then everything is sent anew.
    pub owed_keys_max: usize,
    /// Subscriptions of one client; more are refused.
    pub subscriptions_per_client_max: usize,
    /// Searches of one client; more are refused.
    pub searches_per_client_max: usize,
    /// Playbacks of all clients; more are refused (503).
    pub playbacks_max: usize,
    /// Playbacks of one client; more are refused.
    pub playbacks_per_client_max: usize,
    /// Values, of lists one for each item, that a stretch of history read for a playback may hold; a playback holds two.
    pub playback_cells_max: usize,
    /// Events kept for clients that come back; the oldest go.
    pub ring_events: usize,
    /// Bytes kept for clients that come back, estimated; the oldest go.
    pub ring_bytes: usize,
    /// Filters followed on after their last client left, so that it can go on where it was; the oldest go.
    pub lingering_filters_max: usize,
    /// How often a client is pinged; two missed pings close it.
    pub ping_interval: Duration,
    /// How often a quiet subscription is told the offset.
    pub bookmark_interval: Duration,
    /// The largest frame from a client, in bytes.
    pub frame_bytes_max: usize,
    /// Commands of one client in a second; more are refused, ten times as many close it.
    pub commands_per_second_max: u32,
    /// Writes of one client that wait for their answer; then nothing more is read from it.
    pub writes_in_flight_max: usize,
    /// Slots of one column table; further properties are left out and counted.
    pub slots_max: usize,
    /// How long a client may leave its socket full; then it is closed.
    pub write_patience: Duration,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            clients_max: 5000,
            handed_over_max: 256,
            mailbox_events: 1024,
            owed_keys_max: 65_536,
            subscriptions_per_client_max: 100,
            searches_per_client_max: 16,
            playbacks_max: 8,
            playbacks_per_client_max: 4,
            playback_cells_max: 1_000_000,
            ring_events: 100_000,
            ring_bytes: 32 << 20,
            lingering_filters_max: 64,
            ping_interval: Duration::from_secs(30),
            bookmark_interval: Duration::from_secs(15),
            frame_bytes_max: 64 << 10,
            commands_per_second_max: 100,
            writes_in_flight_max: 64,
            slots_max: 500_000,
            write_patience: Duration::from_secs(60),
        }
    }
}
