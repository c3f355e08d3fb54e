//! Wills: what the broker publishes for a client that goes without saying good-bye, also where the broker went first.
//!
//! A power cut takes the broker and its devices together, and some devices do not come back. So a will is noted in the journal
//! when its client connects, and struck out when it is published, in the same commit, or no longer wanted. What is left
//! after a crash are the wills of clients that were connected. Their clients get as long to come back as their keep-alive
//! gives them to be silent; then their wills are published. A client that is back in time was never gone.
//!
//! A note carries the number of the connection that it belongs to: an old connection that is still being cleared away must
//! not strike out the will of the one that took over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::gate::{ClientInfo, EverythingRights};
use crate::ledger::{Ledger, Note};
use crate::message::Publish;

/// How long a client without keep-alive gets to come back after a crash.
const SILENCE_WITHOUT_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A will whose time has not come.
pub(crate) struct DelayedWill {
    pub(crate) client: Arc<ClientInfo>,
    pub(crate) message: Publish,
    pub(crate) due_micros: i64,
    /// The connection that it belongs to.
    pub(crate) number: u64,
}

impl DelayedWill {
    /// The note that it is done with.
    pub(crate) fn struck_out(&self) -> Note {
        struck_out(&self.client, self.number)
    }
}

/// The note that the will of a connection is done with.
pub(crate) fn struck_out(client: &ClientInfo, number: u64) -> Note {
    Note::Unwilled { client: client.client_id.clone(), number }
}

/// A will as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptWill {
    number: u64,
    principal: String,
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    /// As [`Publish::encoded_properties`] gives them.
    properties: Vec<u8>,
    /// How long its client gets to come back after a crash, in seconds.
    after_s: u32,
}

impl KeptWill {
    /// Which connection it belongs to.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The note on the will of a connection; `silence_max` is how long its client may be silent.
    pub(crate) fn note(
        client: &ClientInfo,
        number: u64,
        message: &Publish,
        delay_s: u32,
        silence_max: Option<Duration>,
    ) -> Note {
        let silence = silence_max.unwrap_or(SILENCE_WITHOUT_KEEP_ALIVE).as_secs_f32().ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a day")]
        let after_s = delay_s.saturating_add(silence as u32);
        Note::Willed {
            client: client.client_id.clone(),
            will: Self {
                number,
                principal: client.principal.clone(),
                topic: message.topic().to_owned(),
                payload: message.payload().to_vec(),
                qos: message.qos(),
                retain: message.retain(),
                properties: message.encoded_properties(),
                after_s,
            },
        }
    }

    fn delayed(&self, client_id: &str, now_micros: i64) -> DelayedWill {
        let payload = Bytes::copy_from_slice(&self.payload);
        let message = Publish::new(&self.topic, payload, self.qos, self.retain);
        DelayedWill {
            client: Arc::new(ClientInfo {
                client_id: client_id.to_owned(),
                principal: self.principal.clone(),
                // It was noted because its client might publish it.
                rights: Arc::new(EverythingRights),
            }),
            message: message.with_encoded_properties(&self.properties),
            due_micros: now_micros.saturating_add(i64::from(self.after_s) * 1_000_000),
            number: self.number,
        }
    }
}

/// The wills that a crash left, by client id.
#[derive(Default)]
pub(crate) struct Orphans(Mutex<HashMap<String, DelayedWill>>);

impl Orphans {
    /// Takes in what the ledger has.
    pub(crate) fn restore(&self, ledger: &Ledger, now_micros: i64) {
        let wills = ledger.wills.iter();
        let wills = wills.map(|(client, will)| (client.clone(), will.delayed(client, now_micros)));
        self.0.lock().extend(wills);
    }

    /// The client is back.
    pub(crate) fn take(&self, client_id: &str) -> Option<DelayedWill> {
        self.0.lock().remove(client_id)
    }

    /// Takes out those whose clients did not come back in time.
    pub(crate) fn due(&self, now_micros: i64) -> Vec<DelayedWill> {
        let due = |_: &String, will: &mut DelayedWill| will.due_micros <= now_micros;
        self.0.lock().extract_if(due).map(|(_, will)| will).collect()
    }
}
