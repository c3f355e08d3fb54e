//! One subscription as the hub sees it, and what it was asked for with.

use std::sync::Arc;

use egiz_model::Offset;
use egiz_twin::ChangeKind;
use egiz_twin::interest::{Sight, Target};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::event::{Event, feature_of};
use super::mailbox::{Mailbox, Mode, Taken};
use super::metrics::LiveMetrics;

/// One subscription as the hub sees it.
pub(crate) struct Subscriber {
    pub(super) mailbox: Mutex<Mailbox>,
    /// Features that it wants; `None` is all.
    pub(super) features: Option<Vec<String>>,
    pub(super) ready: Arc<Notify>,
}

impl Subscriber {
    pub(crate) fn take(&self) -> Option<Taken> {
        self.mailbox.lock().take()
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.mailbox.lock().overflowed()
    }

    /// Whether it shows a change. A Thing that comes into view or leaves it is always shown: which feature made it do so
    /// need not be one that is shown.
    pub(crate) fn wants(&self, kind: &ChangeKind, sight: Sight) -> bool {
        match (&self.features, feature_of(kind)) {
            (Some(features), Some(feature)) if sight == Sight::Seen => {
                features.iter().any(|wanted| wanted == feature)
            }
            _ => true,
        }
    }

    /// Files an event; whether the client is to be woken for it.
    pub(super) fn push(&self, event: &Arc<Event>, sight: Sight, metrics: &LiveMetrics) -> bool {
        let (was_empty, merged) = {
            let mut mailbox = self.mailbox.lock();
            let was_empty = mailbox.is_empty();
            let kept = mailbox.push(event, sight);
            (was_empty, !kept && mailbox.mode() == Mode::Conflate)
        };
        if merged {
            metrics.conflated.inc();
        }
        was_empty
    }
}

/// What a client subscribes with.
pub(crate) struct Wish {
    pub(crate) target: Target,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) mode: Mode,
    pub(crate) from: Option<Offset>,
    pub(crate) ready: Arc<Notify>,
}
