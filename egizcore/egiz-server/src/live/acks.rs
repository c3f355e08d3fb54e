//! Acknowledgements of one's own: who writes may wait until somebody who listens says that it is done.
//!
//! ```text
//!  writer ─ write, requested-acks: a ─► engine ─► ask(a) ─► AckRequested ─► the client that declared a
//!    ▲                                                                          │
//!    └── 200 all good │ 424 one is not │ 408 no answer in time ◄── ack(status) ──┘
//! ```
//!
//! The write itself is done when it is asked: a failed acknowledgement takes nothing back. A label belongs to one client at
//! a time. A client whose requests pile up, or that goes, has not acknowledged.
//! Source: acknowledgements of Eclipse Ditto.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use egiz_api::live::{AckFrame, AckRequested, Acknowledgement};
use egiz_api::{Code, Problem};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;

/// Labels of one client; more are refused.
const LABELS_PER_CLIENT: usize = 32;
/// Labels of one write; more are refused.
pub(crate) const LABELS_PER_WRITE: usize = 8;
/// Requests that wait for one client; a further one counts as failed.
const REQUESTS_WAITING: usize = 256;
/// The longest label in bytes.
const LABEL_BYTES_MAX: usize = 100;
/// Acknowledgements that each answer to a write stands for: it is on disk and searches see it.
pub(crate) const BUILT_IN: [&str; 2] = ["twin-persisted", "search-persisted"];

/// Who has declared what, and who waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acks(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    declared: HashMap<String, (u64, mpsc::Sender<AckRequested>)>,
    /// Bounded by the writes under way and their labels.
    waiting: HashMap<u64, (u64, oneshot::Sender<Acknowledgement>)>,
    next_client: u64,
    next_number: u64,
}

/// What a write came to, for those who are to acknowledge it.
pub(crate) struct About<'a> {
    pub(crate) thing: &'a str,
    pub(crate) path: &'a str,
    pub(crate) revision: u64,
    pub(crate) offset: u64,
    pub(crate) correlation: &'a str,
}

/// Checks a label.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_label(label: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.');
    let is_label = (3..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_allowed);
    let shown: String = label.chars().take(60).collect();
    is_label
        .then_some(())
        .ok_or_else(|| format!("`{shown}` is no label: 3 to {LABEL_BYTES_MAX} letters, digits and -_:. are"))
}

impl Acks {
    /// The labels of a client that has just come.
    pub(crate) fn client(&self) -> Declarations {
        let mut state = self.0.lock();
        state.next_client += 1;
        let (sender, requests) = mpsc::channel(REQUESTS_WAITING);
        Declarations { acks: self.clone(), client: state.next_client, sender, requests }
    }

    /// Asks those who declared these labels.
    pub(crate) fn ask(&self, labels: &[String], about: &About<'_>) -> Asked {
        let mut state = self.0.lock();
        let mut asked = Asked { acks: self.clone(), parts: Vec::with_capacity(labels.len()) };
        for label in labels {
            let part = match state.declared.get(label).cloned() {
                None => Part::Known(failed(404, "nobody has declared it")),
                Some((client, requests)) => {
                    state.next_number += 1;
                    let number = state.next_number;
                    let request = AckRequested {
                        ack: number,
                        label: label.clone(),
                        thing_id: about.thing.to_owned(),
                        path: about.path.to_owned(),
                        revision: about.revision,
                        offset: about.offset,
                        correlation_id: about.correlation.to_owned(),
                    };
                    let (sender, answer) = oneshot::channel();
                    match requests.try_send(request) {
                        Ok(()) => {
                            state.waiting.insert(number, (client, sender));
                            Part::Awaited(number, answer)
                        }
                        Err(_) => Part::Known(failed(503, "the client that declared it does not keep up")),
                    }
                }
            };
            asked.parts.push((label.clone(), part));
        }
        asked
    }
}

/// The labels of one client, and what is asked of it; dropping it takes them back.
#[derive(Debug)]
pub(crate) struct Declarations {
    acks: Acks,
    client: u64,
    /// Never closed, so that waiting for requests does not end.
    sender: mpsc::Sender<AckRequested>,
    requests: mpsc::Receiver<AckRequested>,
}

impl Declarations {
    /// Takes labels, all or none.
    ///
    /// # Errors
    /// `already-exists` where another client has one, `limit-reached`.
    pub(crate) fn declare(&mut self, labels: Vec<String>) -> Result<(), ApiError> {
        let mut state = self.acks.0.lock();
        let is_own = |(client, _): &(u64, _)| *client == self.client;
        if let Some(taken) =
            labels.iter().find(|label| state.declared.get(*label).is_some_and(|own| !is_own(own)))
        {
            return Err(ApiError::new(Code::AlreadyExists, format!("another client has declared `{taken}`")));
        }
        let known = state.declared.values().filter(|own| is_own(own)).count();
        let new = labels.iter().filter(|label| !state.declared.contains_key(*label)).count();
        if known + new > LABELS_PER_CLIENT {
            return Err(Problem::new(
                Code::LimitReached,
                format!("a client may declare {LABELS_PER_CLIENT} labels"),
            )
            .limit(LABELS_PER_CLIENT as u64)
            .into());
        }
        for label in labels {
            state.declared.insert(label, (self.client, self.sender.clone()));
        }
        Ok(())
    }

    /// Hands an acknowledgement to who waits for it; whether somebody does.
    pub(crate) fn acknowledge(&self, number: u64, ack: Acknowledgement) -> bool {
        let mut state = self.acks.0.lock();
        if state.waiting.get(&number).is_none_or(|(client, _)| *client != self.client) {
            return false;
        }
        state.waiting.remove(&number).is_some_and(|(_, waiting)| waiting.send(ack).is_ok())
    }

    /// The next request as a frame.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let request = self.requests.recv().await?;
        serde_json::to_vec(&AckFrame::AckRequested(request)).ok()
    }
}

impl Drop for Declarations {
    fn drop(&mut self) {
        let mut state = self.acks.0.lock();
        state.declared.retain(|_, (client, _)| *client != self.client);
        state.waiting.retain(|_, (client, _)| *client != self.client);
    }
}

/// What was asked for one write; dropping it gives up.
pub(crate) struct Asked {
    acks: Acks,
    parts: Vec<(String, Part)>,
}

enum Part {
    Known(Acknowledgement),
    Awaited(u64, oneshot::Receiver<Acknowledgement>),
}

impl Asked {
    /// Waits for every answer until `patience` is over: all of them, or the problem that names them.
    ///
    /// # Errors
    /// `acknowledgement-timeout` where only answers are missing, else `acknowledgement-failed`.
    pub(crate) async fn all(mut self, patience: Duration) -> Result<Map<String, Value>, Box<Problem>> {
        let deadline = Instant::now() + patience;
        let mut found = Map::new();
        let mut not_good: Vec<(String, u16)> = Vec::new();
        for (label, part) in &mut self.parts {
            let ack = match part {
                Part::Known(ack) => ack.clone(),
                Part::Awaited(_, answer) => match timeout_at(deadline, answer).await {
                    Ok(Ok(ack)) => ack,
                    Ok(Err(_)) => failed(503, "the client that declared it went away"),
                    Err(_) => failed(408, &format!("no answer came within {} ms", patience.as_millis())),
                },
            };
            if !(200..300).contains(&ack.status) {
                not_good.push((label.clone(), ack.status));
            }
            found.insert(label.clone(), serde_json::to_value(ack).unwrap_or_default());
        }
        if not_good.is_empty() {
            return Ok(found);
        }
        let code = match not_good.iter().all(|(_, status)| *status == 408) {
            true => Code::AcknowledgementTimeout,
            false => Code::AcknowledgementFailed,
        };
        let names: Vec<&str> = not_good.iter().map(|(label, _)| label.as_str()).collect();
        let detail = format!("the write is done; not acknowledged: {}", names.join(", "));
        Err(Box::new(Problem::new(code, detail).acknowledgements(found)))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.acks.0.lock();
        for (_, part) in &self.parts {
            if let Part::Awaited(number, _) = part {
                state.waiting.remove(number);
            }
        }
    }
}

fn failed(status: u16, reason: &str) -> Acknowledgement {
    Acknowledgement { status, payload: Some(reason.into()) }
}
