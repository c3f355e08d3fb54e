//! What lines of line protocol mean: ingest's rules, as the HTTP side asks for them.

use std::sync::Arc;

use egiz_ingest::{Ingest, LineRules, LineSource};
use egiz_server::{LineMapper, Lines, MappedLines, RejectedLine};

/// Maps lines to records.
pub(crate) struct IngestLines {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) rules: LineRules,
}

impl LineMapper for IngestLines {
    fn map(&self, lines: &Lines<'_>) -> MappedLines {
        let source = LineSource {
            received: lines.received,
            principal: lines.principal,
            correlation: lines.correlation,
            place: lines.place,
            precision: lines.precision,
            body: lines.body,
        };
        let mut records = Vec::new();
        let mapped = self.ingest.map_lines(&source, &self.rules, |thing, record| {
            records.push((thing.to_owned(), record));
        });
        let first_rejected = mapped.first_rejected.into_iter().map(|line| RejectedLine {
            number: line.number,
            excerpt: line.excerpt,
            reason: line.reason,
        });
        MappedLines {
            records,
            accepted: mapped.accepted,
            rejected: mapped.rejected,
            first_rejected: first_rejected.collect(),
        }
    }
}
