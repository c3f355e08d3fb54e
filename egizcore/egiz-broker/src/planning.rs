//! Notes the packet ids of deliveries of QoS 2 before they begin: after a crash a message must come with the id that its
//! client may know it by, or it would be received twice.

use std::sync::Weak;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::broker::Shared;
use crate::gate::Receipt;
use crate::ledger::Note;
use crate::metrics::BrokerMetrics;
use crate::session::Plan;

/// Plans that are noted in one commit.
const PLANS_AT_ONCE: usize = 1000;

/// Notes plans until the broker is gone.
pub(crate) async fn note_plans(shared: Weak<Shared>, mut plans: UnboundedReceiver<Plan>) {
    let mut batch = Vec::new();
    while plans.recv_many(&mut batch, PLANS_AT_ONCE).await > 0 {
        let Some(shared) = shared.upgrade() else { return };
        let batch = std::mem::take(&mut batch);
        let note = |plan: &Plan| {
            let client = plan.session.client_id.clone();
            Note::Sent { client, offset: plan.offset, id: plan.id.get() }
        };
        let notes: Vec<_> = batch.iter().map(note).collect();
        let receipt = {
            let shared = shared.clone();
            Receipt::new(move |result| match result {
                Ok(_) => batch.iter().for_each(|plan| begin(&shared, plan)),
                Err(_) => {
                    // The clients are closed; when they come back, the deliveries are planned anew.
                    BrokerMetrics::count(&shared.metrics.failures, "notes-not-kept");
                    for plan in &batch {
                        if let Some(online) = &plan.session.lock().online {
                            online.outbox.close();
                        }
                    }
                }
            })
        };
        shared.submit_notes(&shared.itself, &notes, receipt).await;
    }
}

fn begin(shared: &Shared, plan: &Plan) {
    let mut state = plan.session.lock();
    let Some(outbox) = state.online.as_ref().map(|online| online.outbox.clone()) else { return };
    state.delivery.begin_planned(&outbox, plan.id, plan.offset, shared.now_micros());
}
