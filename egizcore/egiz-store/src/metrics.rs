//! What the registry counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of the registry; clones share them.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    pub(crate) password_hashings: Counter,
    pub(crate) passwords_remembered: Counter,
    pub(crate) password_checks_refused: Counter,
}

impl StoreMetrics {
    /// Makes the counters and registers them.
    ///
    /// - `egiz_store_password_hashings_total`: Argon2 runs, each some 20 ms of a core and 19 MiB.
    /// - `egiz_store_passwords_remembered_total`: checks answered without one, from memory.
    /// - `egiz_store_password_checks_refused_total`: checks refused because too many were waiting.
    pub fn register(registry: &mut Registry) -> StoreMetrics {
        let metrics = StoreMetrics::default();
        registry.register(
            "egiz_store_password_hashings",
            "Password checks and changes that cost an Argon2 run",
            metrics.password_hashings.clone(),
        );
        registry.register(
            "egiz_store_passwords_remembered",
            "Password checks answered from memory",
            metrics.passwords_remembered.clone(),
        );
        registry.register(
            "egiz_store_password_checks_refused",
            "Password checks refused because too many were waiting",
            metrics.password_checks_refused.clone(),
        );
        metrics
    }
}
