//! Who may come in over MQTT, and as whom.
//!
//! | user name | password | is |
//! |---|---|---|
//! | none | none | anonymous, where `mqtt.allow_anonymous` lets it in from that address: everything |
//! | `<site>/<device>`, `<site>:<device>` or `<device>` | the device's | that device: its own topics only |
//! | a bridge's | that bridge's secret of this process | that bridge: hears everything, says nothing |
//! | any | an API token, of the configuration or the registry | the token's bearer: everything; a viewer may only subscribe |
//!
//! The rules of `[[mqtt.acl]]` go before that. A verified client certificate is no identity yet: its owner logs in, too.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use egiz_broker::{Denied, DeviceRights, EverythingRights, Gatekeeper, Login, TopicRights};
use egiz_service::config::Anonymous;
use egiz_store::{DeviceKey, Role, Store};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use crate::acl::{Acl, Who};
use crate::elsewhere::Inside;

/// The name of the configuration's API token in records.
pub(crate) const API_TOKEN_NAME: &str = "api";

/// The door.
pub(crate) struct Door {
    pub(crate) store: Store,
    pub(crate) site: String,
    pub(crate) anonymous: Anonymous,
    /// SHA-256 of the configuration's API token, if it has one.
    pub(crate) api_token: Option<[u8; 32]>,
    /// The configuration's rules, which go before what a login gives.
    pub(crate) acl: Acl,
    /// Who comes in from inside the program.
    pub(crate) inside: Arc<Inside>,
}

/// Somebody who was let in: the principal, its rights, and its name where it is a device.
type Known = (String, Arc<dyn TopicRights>, Option<String>);

/// May hear everything and say nothing.
#[derive(Debug)]
struct ListenerRights;

impl TopicRights for ListenerRights {
    fn may_publish(&self, _topic: &str) -> bool {
        false
    }

    fn may_subscribe(&self, _filter: &str) -> bool {
        true
    }
}

/// Rights that end when their login is revoked.
#[derive(Debug)]
struct Revocable {
    rights: Arc<dyn TopicRights>,
    revoked: CancellationToken,
}

impl TopicRights for Revocable {
    fn may_publish(&self, topic: &str) -> bool {
        self.rights.may_publish(topic)
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        self.rights.may_subscribe(filter)
    }

    fn may_receive(&self, topic: &str) -> bool {
        self.rights.may_receive(topic)
    }

    fn withdrawn(&self) -> Option<&CancellationToken> {
        Some(&self.revoked)
    }
}

impl Door {
    fn lets_anonymous_in(&self, from: IpAddr) -> bool {
        match self.anonymous {
            Anonymous::Never => false,
            Anonymous::Loopback => from.is_loopback(),
            Anonymous::Always => true,
        }
    }

    fn is_configured_token(&self, password: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(password.as_bytes()).into();
        self.api_token.is_some_and(|known| known.ct_eq(&digest).into())
    }

    fn device_key(&self, username: &str) -> DeviceKey {
        match username.split_once(['/', ':']) {
            Some((site, device)) => DeviceKey::new(site, device),
            None => DeviceKey::new(&self.site, username),
        }
    }
}

#[async_trait]
impl Gatekeeper for Door {
    async fn authenticate(&self, login: Login<'_>) -> Result<(String, Arc<dyn TopicRights>), Denied> {
        let (client_id, username) = (login.client_id, login.username);
        let (principal, rights, device) = self.recognise(&login).await?;
        let who = Who { principal: &principal, client_id, username, device: device.as_deref() };
        let rights = self.acl.over(rights, &who);
        Ok((principal, rights))
    }
}

impl Door {
    async fn recognise(&self, login: &Login<'_>) -> Result<Known, Denied> {
        let Some(username) = login.username else {
            if login.password.is_none() && self.lets_anonymous_in(login.peer.ip()) {
                let principal = if login.client_id.is_empty() { "anonymous" } else { login.client_id };
                return Ok((shortened(principal), Arc::new(EverythingRights), None));
            }
            return Err(Denied::BadCredentials);
        };
        let password = login
            .password
            .and_then(|password| std::str::from_utf8(password).ok())
            .ok_or(Denied::BadCredentials)?;
        if self.inside.knows(username, password) {
            return Ok((username.to_owned(), Arc::new(ListenerRights), None));
        }
        if self.is_configured_token(password) {
            return Ok((API_TOKEN_NAME.to_owned(), Arc::new(EverythingRights), None));
        }
        if let Some(identity) = self.store.authenticate_api_token(password) {
            let rights: Arc<dyn TopicRights> = match identity.role {
                Role::Viewer => Arc::new(ListenerRights),
                _ => Arc::new(EverythingRights),
            };
            let rights = Arc::new(Revocable { rights, revoked: identity.revoked });
            return Ok((identity.name.to_string(), rights, None));
        }
        let unavailable = |error| {
            tracing::error!(%error, "a login could not be checked");
            Denied::Busy
        };
        let key = self.device_key(username);
        match self.store.authenticate_device(&key, password).await.map_err(unavailable)? {
            Some(identity) => {
                let rights = Arc::new(DeviceRights::new(&identity.key.site, &identity.key.name));
                let rights = Arc::new(Revocable { rights, revoked: identity.revoked });
                Ok((identity.thing_id.to_string(), rights, Some(identity.key.name)))
            }
            None => Err(Denied::BadCredentials),
        }
    }
}

/// A principal as a record takes it: at most 256 bytes.
fn shortened(principal: &str) -> String {
    const PRINCIPAL_BYTES_MAX: usize = 256;
    let end = principal.floor_char_boundary(PRINCIPAL_BYTES_MAX);
    principal[..end].to_owned()
}
