//! SUBSCRIBE and UNSUBSCRIBE: answered once a restart would know of them.
//!
//! A subscription takes effect right before its SUBACK, in the order in which the client's packets came: what the client had
//! published before is retained by then and not its own news, and what it publishes next, or anybody who knows of the SUBACK,
//! reaches it. The end of a subscription takes effect at once.

use std::num::{NonZeroU16, NonZeroU32};

use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{v3, v5};

use super::Connection;
use super::batch::{Batch, Packet, Reply};
use crate::ledger::Note;
use crate::protocol::{SubscribeRequest, Version};
use crate::router::Subscription;
use crate::topic;

impl Connection<'_> {
    pub(super) fn subscribe(
        &mut self,
        id: NonZeroU16,
        filters: &[SubscribeRequest],
        identifier: Option<NonZeroU32>,
        batch: &mut Batch,
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        let mut subscriptions = Vec::new();
        for request in filters {
            let filter = &*request.filter;
            if let Some(code) = self.refusal(filter) {
                codes.push(code);
                continue;
            }
            let subscription = Subscription {
                qos: request.qos.min(2),
                no_local: request.no_local,
                retain_as_published: request.retain_as_published,
                identifier,
            };
            let persisted = {
                let mut state = self.session.lock();
                state.subscribe(filter, subscription);
                state.persisted
            };
            if persisted {
                let (client, filter) = (self.client.client_id.clone(), filter.to_owned());
                batch.note(Note::Subscribed { client, filter, options: subscription.into() });
            }
            codes.push(subscription.qos);
            self.speaks_past_itself |= subscription.no_local;
            subscriptions.push((request.clone(), subscription));
        }
        let packet = match self.outbox.version() {
            Version::V3 => {
                let status = codes.iter().map(|code| match code {
                    0 => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
                    1 => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
                    2 => v3::SubscribeReturnCode::Success(QoS::ExactlyOnce),
                    _ => v3::SubscribeReturnCode::Failure,
                });
                Packet::V3(v3::Packet::SubscribeAck { packet_id: id, status: status.collect() })
            }
            Version::V5 => {
                let status = codes.iter().map(|code| match code {
                    0 => v5::SubscribeAckReason::GrantedQos0,
                    1 => v5::SubscribeAckReason::GrantedQos1,
                    2 => v5::SubscribeAckReason::GrantedQos2,
                    0x80 => v5::SubscribeAckReason::UnspecifiedError,
                    0x87 => v5::SubscribeAckReason::NotAuthorized,
                    0x97 => v5::SubscribeAckReason::QuotaExceeded,
                    _ => v5::SubscribeAckReason::TopicFilterInvalid,
                });
                Packet::V5(v5::Packet::SubscribeAck(v5::SubscribeAck {
                    packet_id: id,
                    properties: Vec::new(),
                    reason_string: None,
                    status: status.collect(),
                }))
            }
        };
        batch.holds |= !subscriptions.is_empty();
        batch.replies.push(Reply::Subscribed { packet, subscriptions });
    }

    /// Why a filter cannot be subscribed to, if so.
    fn refusal(&self, filter: &str) -> Option<u8> {
        let is_shared = topic::is_shared(filter);
        let is_valid = if is_shared { topic::is_shared_filter(filter) } else { topic::is_filter(filter) };
        if !is_valid {
            return Some(0x8F);
        }
        // What counts is what the subscription brings, not in which group.
        let (_, plain) = topic::split_shared(filter);
        if !self.client.rights.may_subscribe(plain) {
            return Some(if self.client.rights.tells_why(plain) { 0x87 } else { 0x80 });
        }
        let state = self.session.lock();
        let is_full = state.filters.len() >= self.shared.config.subscriptions_max;
        (is_full && !state.filters.contains_key(filter)).then_some(0x97)
    }

    pub(super) fn unsubscribe(&mut self, id: NonZeroU16, filters: &[ByteString], batch: &mut Batch) {
        let mut status = Vec::with_capacity(filters.len());
        for filter in filters {
            let (existed, persisted) = {
                let mut state = self.session.lock();
                state.filters_version += 1;
                (state.filters.remove(&**filter).is_some(), state.persisted)
            };
            if existed {
                self.shared.routes.unsubscribe(self.session.number, filter);
                self.shared.note_counts();
            }
            if existed && persisted {
                let (client, filter) = (self.client.client_id.clone(), filter.to_string());
                batch.note(Note::Unsubscribed { client, filter });
            }
            status.push(if existed {
                v5::UnsubscribeAckReason::Success
            } else {
                v5::UnsubscribeAckReason::NoSubscriptionExisted
            });
        }
        let packet = match self.outbox.version() {
            Version::V3 => Packet::V3(v3::Packet::UnsubscribeAck { packet_id: id }),
            Version::V5 => Packet::V5(v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                packet_id: id,
                properties: Vec::new(),
                reason_string: None,
                status,
            })),
        };
        batch.replies.push(Reply::Subscribed { packet, subscriptions: Vec::new() });
    }
}
