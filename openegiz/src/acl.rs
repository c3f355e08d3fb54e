//! The rules of `[[mqtt.acl]]`: who may publish and subscribe to what. Pure.
//!
//! The first rule that fits decides; where none fits, the login's own rights do. A subscription is to a filter, not to a
//! topic, so three cases are told apart, rule by rule:
//!
//! | the rule's filter | an allowing rule | a denying rule |
//! |---|---|---|
//! | matches every topic that the subscription's does | allows it | denies it (0x87, in 3.1.1 0x80) |
//! | matches some of them | does not decide | does not decide, but those topics are never delivered |
//! | matches none | does not fit | does not fit |
//!
//! So `#` may be subscribed to beside a rule that denies `test/nosubscribe`, and brings everything else.

use std::sync::Arc;

use egiz_broker::{TopicRights, topic};
use egiz_service::config::{MqttAclRule, MqttAction, Permission};
use tokio_util::sync::CancellationToken;

/// All rules.
#[derive(Debug, Default)]
pub(crate) struct Acl {
    rules: Vec<MqttAclRule>,
}

/// Whom the rules are asked about.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) principal: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    /// The device's name without its site, where it is one.
    pub(crate) device: Option<&'a str>,
}

/// What is wrong with a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRule {
    /// Which, from 0.
    pub(crate) at: usize,
    pub(crate) problem: &'static str,
}

impl Acl {
    /// Takes the rules of the configuration.
    ///
    /// # Errors
    /// The first rule whose filter is none.
    pub(crate) fn new(rules: &[MqttAclRule]) -> Result<Self, BadRule> {
        for (at, rule) in rules.iter().enumerate() {
            let example = Who { client_id: "x", username: Some("x"), device: Some("x"), ..Who::default() };
            // `{` has no meaning in a topic that anybody would want to forbid by mistake.
            let problem = match resolved(&rule.filter, &example) {
                None => Some("has an unknown variable, or one that is not a whole level"),
                Some(filter) if !topic::is_filter(&filter) => Some("is no topic filter"),
                Some(_) if topic::is_shared(&rule.filter) => {
                    Some("names a group; rules hold for shared subscriptions, too")
                }
                Some(_) => None,
            };
            if let Some(problem) = problem {
                return Err(BadRule { at, problem });
            }
        }
        Ok(Self { rules: rules.to_vec() })
    }

    /// The rights of somebody: the rules that concern them, over what the login gives.
    pub(crate) fn over(&self, built_in: Arc<dyn TopicRights>, who: &Who<'_>) -> Arc<dyn TopicRights> {
        let concern = self.rules.iter().filter(|rule| {
            is_like(&rule.principal, who.principal) && is_like(&rule.client_id, who.client_id)
        });
        let rules: Vec<_> = concern
            .filter_map(|rule| {
                Some(Rule {
                    filter: resolved(&rule.filter, who)?,
                    publish: rule.action != MqttAction::Subscribe,
                    subscribe: rule.action != MqttAction::Publish,
                    allow: rule.permission == Permission::Allow,
                    tell_reason: rule.tell_reason,
                })
            })
            .collect();
        if rules.is_empty() { built_in } else { Arc::new(RuledRights { rules, built_in }) }
    }
}

/// Puts the values in; `None` where one is missing, or is not one level and so would reach into the topics of others.
fn resolved(filter: &str, who: &Who<'_>) -> Option<String> {
    let level = |level| {
        let value = match level {
            "{client_id}" => Some(who.client_id),
            "{username}" => who.username,
            "{device}" => who.device,
            other => return (!other.contains(['{', '}'])).then_some(other),
        };
        value.filter(|value| !value.is_empty() && !value.contains(['/', '+', '#', '\0', '{', '}']))
    };
    filter.split('/').map(level).collect::<Option<Vec<_>>>().map(|levels| levels.join("/"))
}

/// Whether a text is like a pattern, in which `*` stands for any part.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        (text, rest) = (&text[at + part.len()..], after);
    }
    text.ends_with(rest)
}

/// A rule as it stands for one client.
#[derive(Debug)]
struct Rule {
    filter: String,
    publish: bool,
    subscribe: bool,
    allow: bool,
    tell_reason: bool,
}

#[derive(Debug)]
struct RuledRights {
    rules: Vec<Rule>,
    built_in: Arc<dyn TopicRights>,
}

impl TopicRights for RuledRights {
    fn may_publish(&self, name: &str) -> bool {
        let rule = self.rules.iter().find(|rule| rule.publish && topic::matches(&rule.filter, name));
        rule.map_or_else(|| self.built_in.may_publish(name), |rule| rule.allow)
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        let rule = self.rules.iter().find(|rule| rule.subscribe && covers(&rule.filter, filter));
        rule.map_or_else(|| self.built_in.may_subscribe(filter), |rule| rule.allow)
    }

    fn tells_why(&self, topic: &str) -> bool {
        // A topic name is a filter that covers nothing else.
        let rule = self.rules.iter().find(|rule| covers(&rule.filter, topic));
        rule.map_or_else(|| self.built_in.tells_why(topic), |rule| rule.tell_reason)
    }

    fn may_receive(&self, name: &str) -> bool {
        let rule = self.rules.iter().find(|rule| rule.subscribe && topic::matches(&rule.filter, name));
        rule.map_or_else(|| self.built_in.may_receive(name), |rule| rule.allow)
    }

    fn withdrawn(&self) -> Option<&CancellationToken> {
        self.built_in.withdrawn()
    }
}

/// Whether every topic that `narrow` matches is one that `wide` matches.
fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests;
