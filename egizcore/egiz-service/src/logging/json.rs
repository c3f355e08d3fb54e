//! One JSON object a line.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::Clock;

const MAX_TEXT_CHARS: usize = 4_096;
const CORRELATION: &str = "correlation_id";

/// The layer that writes the lines.
pub(super) struct JsonLines<W> {
    clock: Clock,
    writer: W,
}

impl<W> JsonLines<W> {
    pub(super) fn new(clock: Clock, writer: W) -> JsonLines<W> {
        JsonLines { clock, writer }
    }
}

/// Fields of a span or an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, cut(&crate::supervisor::error_chain(value)));
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let correlation = fields.0.remove(CORRELATION);
        let metadata = event.metadata();
        let mut line = format!(
            "{{\"ts\":\"{}\",\"level\":\"{}\",\"target\":{},\"msg\":{message}",
            (self.clock)(),
            metadata.level().as_str().to_lowercase(),
            Value::from(metadata.target()),
        );
        if let Some(correlation) = correlation {
            line.push_str(&format!(",\"{CORRELATION}\":{correlation}"));
        }
        if !fields.0.is_empty() {
            line.push_str(&format!(",\"fields\":{}", Value::Object(fields.0)));
        }
        line.push_str("}\n");
        // There is nowhere left to report that the log itself cannot be written.
        let _ = self.writer.make_writer_for(metadata).write_all(line.as_bytes());
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
