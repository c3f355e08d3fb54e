//! What the program gives the broker: somewhere to commit messages, and somebody who says who may do what.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::Offset;
use crate::message::Publish;

/// Room for a batch in the intake's queue; what it is is the intake's business.
pub type Room = Box<dyn Any + Send>;

/// Where messages are committed.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Waits until there is room for `bytes`. The connection does not read its socket meanwhile.
    ///
    /// # Cancel safety
    /// May be dropped while waiting.
    async fn reserve(&self, bytes: usize) -> Room;

    /// Takes all publishes of one read, and the broker's own notes, to be kept in the same commit. Never waits. `receipt` is
    /// completed once, from the commit, on any thread, batches in the order in which they were submitted. A note is to be
    /// given to a [`Ledger`](crate::Ledger) in the journal's order, and to nobody else. A batch of nothing is settled in its
    /// turn.
    fn submit(
        &self,
        client: &Arc<ClientInfo>,
        publishes: &[Publish],
        notes: &[Vec<u8>],
        room: Room,
        receipt: Receipt,
    );
}

/// Where committed messages are found again.
pub trait Archive: Send + Sync + 'static {
    /// Begins to read at `from`, or at the oldest message that is still there.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn open(&self, from: Offset) -> io::Result<Box<dyn ArchiveReader>>;
}

/// Reads committed messages in order. Called where waiting for a disk is allowed.
pub trait ArchiveReader: Send {
    /// Appends the messages of the next stretch whose offset and topic name are `wanted`. `false` when everything
    /// committed by now has been read.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(
        &mut self,
        wanted: &dyn Fn(Offset, &str) -> bool,
        out: &mut Vec<(Offset, Publish)>,
    ) -> io::Result<bool>;

    /// Everything before this has been read.
    fn position(&self) -> Offset;
}

/// Microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the broker is given by the program.
#[derive(Clone)]
pub struct Surroundings {
    /// Where messages are committed.
    pub intake: Arc<dyn Intake>,
    /// Where they are found again.
    pub archive: Arc<dyn Archive>,
    /// Who may come in.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// What time it is.
    pub clock: Clock,
}

/// Why a batch was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no space to keep it.
    NoSpace,
    /// It cannot be kept for another reason.
    Internal,
}

/// What becomes of a batch once it is committed, or not. Dropping it unused refuses the batch.
pub struct Receipt(Option<OnSettled>);

type OnSettled = Box<dyn FnOnce(Result<Placed<'_>, Refusal>) + Send>;

/// Where the journal has a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The batch's first record: everything that was committed before the batch lies before it. The notes come first, then
    /// the messages, so that a subscription lies before what its client published next.
    pub first: Offset,
    /// Where each message of the batch can be read again, if it can. Those that [are owed](Publish::is_owed) can; whoever
    /// keeps others whole as well must say so, or a subscriber would be sent them a second time after a crash.
    pub messages: &'a [Option<Offset>],
    /// Behind its last record.
    pub end: Offset,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Receipt")
    }
}

impl Receipt {
    pub(crate) fn new(done: impl FnOnce(Result<Placed<'_>, Refusal>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    /// The batch is durable: its acknowledgements go out.
    pub fn committed(mut self, placed: Placed<'_>) {
        self.complete(Ok(placed));
    }

    /// The batch is not kept: nothing is acknowledged.
    pub fn refused(mut self, refusal: Refusal) {
        self.complete(Err(refusal));
    }

    fn complete(&mut self, result: Result<Placed<'_>, Refusal>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.complete(Err(Refusal::Internal));
    }
}

/// How somebody tries to come in.
#[derive(Debug)]
pub struct Login<'a> {
    /// The client id as sent; may be empty.
    pub client_id: &'a str,
    /// User name, if sent.
    pub username: Option<&'a str>,
    /// Password, if sent.
    pub password: Option<&'a [u8]>,
    /// From where.
    pub peer: SocketAddr,
    /// The certificate that it proved to own, where the listener asks for one.
    pub certificate: Option<&'a ClientCertificate>,
}

/// Whom a client certificate names, once its chain and the possession of its key were verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name.
    pub common_name: Option<String>,
    /// The subject's alternative names: DNS names, mail addresses and URIs, as text.
    pub alternative_names: Vec<String>,
}

/// Why somebody may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// User name or password is wrong or missing.
    BadCredentials,
    /// Known, but not allowed.
    NotAuthorized,
    /// Ask again later.
    Busy,
}

/// Who is connected.
#[derive(Debug)]
pub struct ClientInfo {
    /// The client id, assigned if none was sent.
    pub client_id: String,
    /// Who it stands for; becomes the cause of records.
    pub principal: String,
    /// What it may do.
    pub rights: Arc<dyn TopicRights>,
}

/// Says who may come in.
#[async_trait]
pub trait Gatekeeper: Send + Sync + 'static {
    /// Checks a login; the principal and its rights.
    ///
    /// # Errors
    /// [`Denied`].
    async fn authenticate(&self, login: Login<'_>) -> Result<(String, Arc<dyn TopicRights>), Denied>;
}

/// Says what somebody may publish and subscribe to.
pub trait TopicRights: Send + Sync + std::fmt::Debug {
    /// Whether it may publish to a topic name.
    fn may_publish(&self, topic: &str) -> bool;
    /// Whether it may subscribe to a topic filter.
    fn may_subscribe(&self, filter: &str) -> bool;
    /// Whether a message to this topic may be delivered to it, where a filter that it may subscribe to matches. Only rights
    /// that let somebody subscribe to more than they may hear need to say more than yes.
    fn may_receive(&self, _topic: &str) -> bool {
        true
    }
    /// Whether a client that may not publish or subscribe to this is told that it is not authorized, rather than nothing.
    fn tells_why(&self, _topic: &str) -> bool {
        true
    }
    /// Cancelled when the rights are taken back: what was opened with them is closed. `None` for rights that stay.
    fn withdrawn(&self) -> Option<&CancellationToken> {
        None
    }
}

/// A device: it publishes under its own topics and hears its own commands, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRights {
    own: Option<[String; 2]>,
}

impl DeviceRights {
    /// The rights of `<site>:<device>`. A name that is not one topic level, or holds a wildcard, has no rights: it would
    /// reach into the topics of others.
    #[must_use]
    pub fn new(site: &str, device: &str) -> Self {
        let is_level = |name: &str| !name.is_empty() && !name.contains(['/', '+', '#', '\0']);
        let own = [format!("sensors/{site}/{device}/"), format!("devices/{site}/{device}/")];
        Self { own: (is_level(site) && is_level(device)).then_some(own) }
    }

    fn is_own(&self, topic: &str) -> bool {
        self.own.iter().flatten().any(|prefix| topic.starts_with(prefix.as_str()))
    }
}

impl TopicRights for DeviceRights {
    fn may_publish(&self, topic: &str) -> bool {
        self.is_own(topic)
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        // The prefix holds no wildcard, so what follows it cannot lead out of it.
        self.is_own(filter)
    }
}

/// Everything but the broker's own `$` topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EverythingRights;

impl TopicRights for EverythingRights {
    fn may_publish(&self, topic: &str) -> bool {
        !topic.starts_with('$')
    }

    fn may_subscribe(&self, _filter: &str) -> bool {
        true
    }
}

/// Nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingRights;

impl TopicRights for NothingRights {
    fn may_publish(&self, _topic: &str) -> bool {
        false
    }

    fn may_subscribe(&self, _filter: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_to_its_own_topics() {
        let rights = DeviceRights::new("factory", "oven-001");
        for own in ["sensors/factory/oven-001/telemetry", "devices/factory/oven-001/reply"] {
            assert!(rights.may_publish(own) && rights.may_subscribe(own), "{own}");
        }
        assert!(rights.may_subscribe("devices/factory/oven-001/#"));
        for other in [
            "sensors/factory/oven-0011/telemetry",
            "sensors/factory/oven-001",
            "sensors/factory/oven-002/telemetry",
            "sensors/other/oven-001/telemetry",
            "#",
            "+/factory/oven-001/telemetry",
            "sensors/+/oven-001/telemetry",
            "$SYS/x",
        ] {
            assert!(!rights.may_publish(other) && !rights.may_subscribe(other), "{other}");
        }
    }

    #[test]
    fn a_name_that_reaches_into_the_topics_of_others_has_no_rights() {
        for (site, device) in
            [("+", "oven-001"), ("factory", "+"), ("factory", "#"), ("factory", ""), ("a", "b/c")]
        {
            let rights = DeviceRights::new(site, device);
            let filter = format!("sensors/{site}/{device}/telemetry");
            assert!(!rights.may_subscribe(&filter) && !rights.may_publish(&filter), "{filter}");
        }
    }

    #[test]
    fn a_receipt_dropped_unused_refuses() {
        let (sender, receiver) = std::sync::mpsc::channel();
        drop(Receipt::new(move |result| sender.send(result.err()).expect("kept")));
        assert_eq!(receiver.recv(), Ok(Some(Refusal::Internal)));
    }
}
