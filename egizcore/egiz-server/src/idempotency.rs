//! Answers kept under `Idempotency-Key`, so that a client that lost one may ask again without doing things twice
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! ```text
//!   unknown ── request ──► under way ── 2xx ──► answered ── time, room ──► unknown
//!      ▲                       │
//!      └──── any other answer ─┘
//! ```
//!
//! In memory: a restart forgets every key. Bounded by number, bytes and time; at a bound the oldest answer goes, counted,
//! and never one that is still under way. What a request does under a key belongs to the user who sent it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::metrics::ServerMetrics;
use crate::settings::IdempotencySettings;

/// Says in an answer that it is one that was kept.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The largest body that is kept; a larger answer is kept without it.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What an entry takes besides its body, about.
const ENTRY_BYTES: usize = 512;

/// A SHA-256 of the user and the key, or of the request.
pub(crate) type Hash = [u8; 32];

/// What becomes of a request with a key.
pub(crate) enum Verdict {
    /// It is the first: carry it out.
    Go(Turn),
    /// It was carried out: this was the answer.
    Replay(Arc<Kept>),
    /// The first one is still under way.
    UnderWay,
    /// The key was used for something else.
    Reused,
    /// As many as may be are under way.
    Full,
}

/// An answer that is kept.
pub(crate) struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// The answer once more.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }

    fn bytes(&self) -> usize {
        self.body.len()
            + self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
    }
}

/// The kept answers; cloning shares them.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Inner>);

struct Inner {
    settings: IdempotencySettings,
    metrics: ServerMetrics,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Hash, Entry>,
    /// By age, the oldest first. An entry that was forgotten leaves its place until that comes to the front.
    order: VecDeque<(Hash, u64)>,
    bytes: usize,
    next: u64,
}

struct Entry {
    number: u64,
    request: Hash,
    since_micros: i64,
    answer: Option<Arc<Kept>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.answer.as_ref().map_or(0, |answer| answer.bytes())
    }
}

impl Table {
    fn remove(&mut self, key: &Hash) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// Forgets the oldest answered entry; `false` where all are under way.
    fn forget_oldest(&mut self) -> bool {
        for _ in 0..self.order.len() {
            let Some((key, number)) = self.order.pop_front() else { return false };
            match self.entries.get(&key).filter(|entry| entry.number == number) {
                None => {}
                Some(entry) if entry.answer.is_none() => self.order.push_back((key, number)),
                Some(_) => return self.remove(&key).is_some(),
            }
        }
        false
    }

    fn forget_old(&mut self, now_micros: i64, kept_micros: i64) {
        while let Some((key, number)) = self.order.front().copied() {
            match self.entries.get(&key).filter(|entry| entry.number == number) {
                Some(entry)
                    if entry.answer.is_none()
                        || now_micros.saturating_sub(entry.since_micros) < kept_micros =>
                {
                    return;
                }
                Some(_) => drop(self.remove(&key)),
                None => {}
            }
            self.order.pop_front();
        }
    }
}

impl Answers {
    pub(crate) fn new(settings: IdempotencySettings, metrics: ServerMetrics) -> Self {
        Self(Arc::new(Inner { settings, metrics, table: Mutex::default() }))
    }

    /// Decides about a request: `key` stands for user and key, `request` for what is asked.
    pub(crate) fn begin(&self, key: Hash, request: Hash, now_micros: i64) -> Verdict {
        let Inner { settings, metrics, table } = &*self.0;
        let mut table = table.lock();
        table.forget_old(now_micros, settings.kept_s.saturating_mul(1_000_000));
        if table.order.len() > 2 * table.entries.len() + 64 {
            // Places of forgotten entries behind one that is long under way.
            let Table { entries, order, .. } = &mut *table;
            order.retain(|(key, number)| entries.get(key).is_some_and(|entry| entry.number == *number));
        }
        if let Some(entry) = table.entries.get(&key) {
            return match &entry.answer {
                _ if entry.request != request => Verdict::Reused,
                None => Verdict::UnderWay,
                Some(answer) => {
                    metrics.idempotent_replay();
                    Verdict::Replay(answer.clone())
                }
            };
        }
        while table.entries.len() >= settings.entries_max || table.bytes + ENTRY_BYTES > settings.bytes_max {
            if !table.forget_oldest() {
                return Verdict::Full;
            }
            metrics.idempotency_forgotten();
        }
        let number = table.next;
        table.next += 1;
        table.bytes += ENTRY_BYTES;
        table.order.push_back((key, number));
        table.entries.insert(key, Entry { number, request, since_micros: now_micros, answer: None });
        Verdict::Go(Turn { answers: self.clone(), key, number })
    }

    fn keep(&self, key: &Hash, number: u64, answer: Kept) {
        let Inner { settings, metrics, table } = &*self.0;
        let mut table = table.lock();
        let bytes = answer.bytes();
        let Some(entry) = table.entries.get_mut(key).filter(|entry| entry.number == number) else { return };
        entry.answer = Some(Arc::new(answer));
        table.bytes += bytes;
        while table.bytes > settings.bytes_max && table.forget_oldest() {
            metrics.idempotency_forgotten();
        }
    }

    fn forget(&self, key: &Hash, number: u64) {
        let mut table = self.0.table.lock();
        let is_under_way = |entry: &Entry| entry.number == number && entry.answer.is_none();
        if table.entries.get(key).is_some_and(is_under_way) {
            table.remove(key);
        }
    }
}

/// The right to carry out the first request under a key. Dropped without an answer, the key is free again.
pub(crate) struct Turn {
    answers: Answers,
    key: Hash,
    number: u64,
}

impl Turn {
    /// Keeps the answer if it says that something was done, and gives it back.
    pub(crate) async fn answered(self, response: Response) -> Response {
        let secret = response.headers().get(CACHE_CONTROL).is_some_and(|value| value == "no-store");
        if !response.status().is_success() || secret {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return Response::from_parts(parts, Body::empty());
        };
        let kept_body = if body.len() > BODY_BYTES_MAX { Bytes::new() } else { body.clone() };
        let kept = Kept { status: parts.status, headers: parts.headers.clone(), body: kept_body };
        self.answers.keep(&self.key, self.number, kept);
        Response::from_parts(parts, Body::from(body))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.answers.forget(&self.key, self.number);
    }
}

/// A hash of parts that cannot run into each other.
pub(crate) fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
