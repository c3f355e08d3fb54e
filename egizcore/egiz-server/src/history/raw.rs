//! Samples as they came, page by page.
//!
//! A row is a message: what a Thing said at one time. A page is so many rows, and its cursor the time after the last, so
//! pages neither lose nor repeat a row; one that comes late, for a time already passed, is not in them.

use std::ops::ControlFlow;
use std::sync::Arc;

use egiz_historian::{Reading, Rows};
use egiz_model::{Quality, Timestamp, Value};

use super::ask::{Ask, RawPage};
use super::buckets::Of;
use super::context::{self, Lookout};
use super::selection::{Key, Selection};
use super::walk::{Pace, Walk};
use super::{PROPERTIES_MAX, complete, entry, value};
use crate::app::App;
use crate::error::ApiError;
use crate::{cursor, present};

/// With so many samples a page ends before its rows are full.
const SAMPLES_MAX: usize = 100_000;

/// The samples of one property, as JSON.
struct Track {
    key: Key,
    samples: Vec<u8>,
    is_empty: bool,
}

/// What a page's cursor says: where it goes on, and the range, which may have been said relative to now.
#[derive(serde::Serialize, serde::Deserialize)]
struct Position {
    next: i64,
    from: i64,
    to: i64,
}

/// Reads a page and writes it.
///
/// # Errors
/// `invalid-cursor`, `history-too-large`, `unavailable`.
pub(super) fn answer(walk: &Walk, app: &App, ask: &Ask, page: &RawPage) -> Result<Vec<u8>, ApiError> {
    let question: Vec<&str> = ask.question.iter().map(String::as_str).collect();
    let key = &app.ports.settings.cursor_key;
    let (mut next, mut from, mut to) = (ask.from, ask.from, ask.to);
    if let Some(text) = &page.cursor {
        let position: Position = cursor::open_value(key, &question, text)?;
        let moment = Timestamp::from_micros;
        (next, from, to) = (moment(position.next), moment(position.from), moment(position.to));
    }
    let limit = page.limit.unwrap_or(usize::MAX);
    let mut tracks: Vec<Track> = Vec::new();
    for key in ask.selection.named() {
        track(&mut tracks, key.clone())?;
    }
    let (mut rows_taken, mut samples_taken, mut goes_on) = (0, 0, None);
    let lookout = Lookout { range: (next, to), ..ask.lookout() };
    let within = context::within(walk, app, &ask.conditions, lookout)?;
    let of = Of { thing: &ask.thing, range: (next, to), selection: &ask.selection, within: within.as_ref() };
    walk.kept_slices(&of, Pace::Page, |rows| {
        let rows = &rows;
        let plan = Plan::of(rows, &ask.selection);
        let mut places = Vec::with_capacity(plan.0.len());
        for step in &plan.0 {
            let of_step = step.keys(&ask.selection).map(|key| track(&mut tracks, key));
            places.push(of_step.collect::<Result<Vec<_>, _>>()?);
        }
        for row in 0..rows.len() {
            let time = rows.time(row);
            let mut is_counted = false;
            for (step, places) in plan.0.iter().zip(&places) {
                let Some(reading) = rows.reading(row, &step.feature, &step.property) else { continue };
                if !is_counted && (rows_taken == limit || samples_taken >= SAMPLES_MAX) {
                    goes_on = Some(time);
                    return Ok(ControlFlow::Break(()));
                }
                rows_taken += usize::from(!std::mem::replace(&mut is_counted, true));
                for place in places {
                    let track = &mut tracks[*place];
                    if let Some(found) = of_item(&reading, track.key.item) {
                        samples_taken += 1;
                        track.push(time, &found, rows.delay_s(row));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    // What is not in this page is not shown, unless it was named.
    tracks.retain(|track| !track.is_empty || ask.selection.named().any(|named| *named == track.key));
    tracks.sort_by(|a, b| ask.selection.order(&a.key, &b.key));
    let mut entries: Vec<_> = tracks.iter().map(|track| entry(&track.key, !track.is_empty)).collect();
    complete(app, walk, &ask.thing, (from, to), &mut entries)?;
    let cursor = goes_on.map(|next| {
        let position = Position { next: next.as_micros(), from: from.as_micros(), to: to.as_micros() };
        cursor::seal_value(key, &question, &position)
    });

    let mut out =
        Vec::with_capacity(256 + tracks.iter().map(|track| track.samples.len() + 128).sum::<usize>());
    out.extend_from_slice(b"{\"thingId\":");
    present::string(&mut out, &ask.thing);
    for (name, moment) in [("from", from), ("to", to)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        present::moment(&mut out, moment);
    }
    out.extend_from_slice(b",\"properties\":[");
    for (index, (track, entry)) in tracks.iter().zip(&entries).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // The entry's own members, without the brace that closes them.
        let members = serde_json::to_vec(entry).unwrap_or_default();
        out.extend_from_slice(members.strip_suffix(b"}").unwrap_or_default());
        out.extend_from_slice(b",\"samples\":[");
        out.extend_from_slice(&track.samples);
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
    if let Some(shown) = context::shown(within.as_ref()) {
        out.extend_from_slice(b",\"context\":");
        out.extend_from_slice(&serde_json::to_vec(&shown).unwrap_or_default());
    }
    if let Some(cursor) = cursor {
        out.extend_from_slice(b",\"cursor\":");
        present::string(&mut out, &cursor);
    }
    out.push(b'}');
    Ok(out)
}

/// The place of a key's track, new if need be.
fn track(tracks: &mut Vec<Track>, key: Key) -> Result<usize, ApiError> {
    if let Some(place) = tracks.iter().position(|track| track.key == key) {
        return Ok(place);
    }
    if tracks.len() == PROPERTIES_MAX {
        return Err(super::too_many_properties());
    }
    tracks.push(Track { key, samples: Vec::new(), is_empty: true });
    Ok(tracks.len() - 1)
}

impl Track {
    fn push(&mut self, time: Timestamp, reading: &Reading, delay_s: u32) {
        let out = &mut self.samples;
        if !std::mem::replace(&mut self.is_empty, false) {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"time\":");
        present::moment(out, time);
        out.extend_from_slice(b",\"value\":");
        value(out, reading.value.as_ref().unwrap_or(&Value::Null));
        if reading.quality != Quality::Good {
            out.extend_from_slice(b",\"quality\":");
            present::string(out, reading.quality.as_str());
        }
        if let Some(reason) = reading.reason.as_str() {
            out.extend_from_slice(b",\"reason\":");
            present::string(out, reason);
        }
        if delay_s > 0 {
            out.extend_from_slice(b",\"receivedAfterS\":");
            out.extend_from_slice(itoa::Buffer::new().format(delay_s).as_bytes());
        }
        if reading.value.is_none() {
            out.extend_from_slice(b",\"removed\":true");
        }
        out.push(b'}');
    }
}

/// The properties of some rows that are asked for.
pub(super) struct Plan(pub(super) Vec<Step>);

/// One property.
pub(super) struct Step {
    pub(super) feature: Arc<str>,
    pub(super) property: Arc<str>,
}

impl Plan {
    pub(super) fn of(rows: &Rows, selection: &Selection) -> Self {
        let wanted = rows.properties().into_iter().filter(|(feature, name)| selection.wants(feature, name));
        Self(wanted.map(|(feature, property)| Step { feature, property }).collect())
    }
}

impl Step {
    /// What is asked for of it: the whole, items, or both.
    pub(super) fn keys<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = Key> + 'a {
        let key =
            |item| Key { feature: Arc::clone(&self.feature), property: Arc::clone(&self.property), item };
        let whole = selection.wants_whole(&self.feature, &self.property).then(|| key(None));
        whole
            .into_iter()
            .chain(selection.items(&self.feature, &self.property).map(move |item| key(Some(item))))
    }
}

/// A reading as a whole, or of one item; nothing where the list does not reach so far or there is none.
pub(super) fn of_item(reading: &Reading, item: Option<u8>) -> Option<Reading> {
    let Some(item) = item else { return Some(reading.clone()) };
    let value = match &reading.value {
        Some(Value::List(items)) => Some(items.get(usize::from(item))?.clone()),
        // What was not there, or was taken away, was so for each item.
        Some(Value::Null) => Some(Value::Null),
        None => None,
        Some(_) => return None,
    };
    Some(Reading { value, ..*reading })
}
