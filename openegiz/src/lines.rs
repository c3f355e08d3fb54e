//! What lines of line protocol mean: ingest's rules, as the HTTP side asks for them.

use std::sync::Arc;

use egiz_influx::{Lines, MappedLines};
use egiz_ingest::{Ingest, LineRules};
use egiz_server::LineMapper;

/// Maps lines to records.
pub(crate) struct IngestLines {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) rules: LineRules,
}

impl LineMapper for IngestLines {
    fn map(&self, lines: &Lines<'_>) -> MappedLines {
        self.ingest.map_lines(lines, &self.rules)
    }
}
