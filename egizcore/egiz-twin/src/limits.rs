//! How large the state may become, and what happens there: the record that would exceed a limit is refused and counted,
//! the state stays as it is.

/// Bounds of an engine. They are part of what makes replicas agree: give all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Things.
    pub things_max: usize,
    /// Devices heard that are no Things yet; at the bound the least recently heard is forgotten.
    pub discovered_max: usize,
    /// Distinct names of features, properties and attributes over all Things.
    pub names_max: usize,
    /// Bytes of one Thing as JSON. A write beyond it is refused; a device's samples beyond it are refused one by one.
    pub thing_bytes_max: usize,
    /// Features of one Thing.
    pub features_max: usize,
    /// Properties of one feature, and attributes of one Thing.
    pub properties_max: usize,
    /// Templates in force.
    pub templates_max: usize,
    /// How long a Thing may be silent before it is stale, where its template does not say; `None` is for ever.
    pub stale_after_micros: Option<i64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            things_max: 100_000,
            discovered_max: 10_000,
            names_max: 100_000,
            thing_bytes_max: 100 * 1024,
            features_max: 256,
            properties_max: 1024,
            templates_max: 10_000,
            stale_after_micros: Some(60_000_000),
        }
    }
}
