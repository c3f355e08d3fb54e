use egiz_broker::{DeviceRights, EverythingRights, NothingRights};
use proptest::prelude::*;

use super::*;

fn rule(filter: &str, action: MqttAction, permission: Permission) -> MqttAclRule {
    MqttAclRule { filter: filter.to_owned(), action, permission, ..MqttAclRule::default() }
}

fn deny(filter: &str) -> MqttAclRule {
    rule(filter, MqttAction::All, Permission::Deny)
}

fn allow(filter: &str) -> MqttAclRule {
    rule(filter, MqttAction::All, Permission::Allow)
}

fn over(rules: &[MqttAclRule], built_in: impl TopicRights + 'static, who: &Who<'_>) -> Arc<dyn TopicRights> {
    Acl::new(rules).expect("the rules are good").over(Arc::new(built_in), who)
}

#[test]
fn a_denied_topic_cannot_be_subscribed_to_nor_heard_by_a_wildcard() {
    let rules = [rule("test/nosubscribe", MqttAction::Subscribe, Permission::Deny)];
    let rights = over(&rules, EverythingRights, &Who::default());
    assert!(!rights.may_subscribe("test/nosubscribe"));
    assert!(rights.may_publish("test/nosubscribe"));
    for filter in ["#", "test/#", "+/+", "test/+", "+/nosubscribe", "test/nosubscribe/#", "test/other"] {
        assert!(rights.may_subscribe(filter), "{filter}");
    }
    assert!(!rights.may_receive("test/nosubscribe"));
    assert!(rights.may_receive("test/nosubscribe/below") && rights.may_receive("test"));
}

#[test]
fn a_rule_may_keep_its_reason_to_itself() {
    let silent = MqttAclRule { tell_reason: false, ..deny("plant/secret/#") };
    let rights = over(&[silent, deny("plant/#")], EverythingRights, &Who::default());
    assert!(!rights.may_subscribe("plant/secret/#") && !rights.tells_why("plant/secret/#"));
    assert!(!rights.may_publish("plant/secret/x") && !rights.tells_why("plant/secret/x"));
    assert!(!rights.may_subscribe("plant/#") && rights.tells_why("plant/#"));
    assert!(rights.tells_why("elsewhere"));
}

#[test]
fn the_first_rule_that_fits_decides_then_the_login() {
    let rules = [allow("plant/public/#"), deny("plant/#"), allow("lab/+/out")];
    let rights = over(&rules, NothingRights, &Who::default());
    assert!(rights.may_publish("plant/public/x") && rights.may_subscribe("plant/public/#"));
    assert!(!rights.may_publish("plant/secret") && !rights.may_subscribe("plant/#"));
    assert!(rights.may_subscribe("lab/+/out") && rights.may_subscribe("lab/1/out"));
    assert!(!rights.may_subscribe("lab/#"), "more than what is allowed");
    assert!(!rights.may_publish("elsewhere"));
    let rights = over(&rules, EverythingRights, &Who::default());
    assert!(rights.may_publish("elsewhere") && !rights.may_publish("plant"));
}

#[test]
fn variables_are_one_level_or_the_rule_does_not_fit() {
    let rules = [allow("clients/{client_id}/#"), allow("users/{username}"), allow("devices/+/{device}/#")];
    let who = Who { principal: "p", client_id: "c1", username: Some("u"), device: None };
    let rights = over(&rules, NothingRights, &who);
    assert!(rights.may_publish("clients/c1/x") && !rights.may_publish("clients/c2/x"));
    assert!(rights.may_subscribe("users/u") && !rights.may_subscribe("users/+"));
    assert!(!rights.may_publish("devices/factory/oven-001/x"));
    for client_id in ["", "+", "#", "a/b", "{username}"] {
        let who = Who { client_id, ..Who::default() };
        let rights = over(&rules, NothingRights, &who);
        assert!(!rights.may_subscribe(&format!("clients/{client_id}/x")), "{client_id}");
    }
    let who = Who { device: Some("oven-001"), ..Who::default() };
    let rights = over(&rules, DeviceRights::new("factory", "oven-001"), &who);
    assert!(rights.may_publish("devices/factory/oven-001/x"));
    assert!(rights.may_publish("sensors/factory/oven-001/telemetry"), "its own rights remain");
}

#[test]
fn rules_concern_those_whose_names_are_alike() {
    let only = |principal: &str, client_id: &str| {
        let (principal, client_id) = (principal.to_owned(), client_id.to_owned());
        [MqttAclRule { principal, client_id, ..allow("x") }]
    };
    let who = Who { principal: "factory:oven-001", client_id: "gateway-7", ..Who::default() };
    for (principal, client_id, fits) in [
        ("*", "*", true),
        ("factory:*", "gateway-*", true),
        ("*:oven-*", "*", true),
        ("*oven*1", "*-*", true),
        ("factory:oven-001", "gateway-7", true),
        ("oven-*", "*", false),
        ("*:mixer-*", "*", false),
        ("factory:oven-001", "gateway", false),
        ("", "*", false),
    ] {
        let rights = over(&only(principal, client_id), NothingRights, &who);
        assert_eq!(rights.may_publish("x"), fits, "{principal} {client_id}");
    }
}

#[test]
fn topics_of_the_broker_itself_are_meant_only_by_name() {
    let rights = over(&[deny("#")], EverythingRights, &Who::default());
    assert!(rights.may_subscribe("$SYS/#") && !rights.may_subscribe("a"));
    let rights = over(&[deny("$SYS/#")], EverythingRights, &Who::default());
    assert!(!rights.may_subscribe("$SYS/#") && !rights.may_receive("$SYS/x") && rights.may_subscribe("#"));
}

#[test]
fn a_rule_that_cannot_be_meant_is_named() {
    for filter in ["a/#/b", "", "a+", "{who}/x", "a{client_id}", "$share/group/a"] {
        let rules = [allow("good"), allow(filter)];
        assert_eq!(Acl::new(&rules).map(|_| ()).map_err(|bad| bad.at), Err(1), "{filter}");
    }
}

fn levels() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$x"]), 1..5)
}

fn filters() -> impl Strategy<Value = String> {
    let filters = (levels(), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    });
    filters.prop_filter("a filter", |filter| topic::is_filter(filter))
}

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "", "$x"]), 1..6)
        .prop_map(|levels| levels.join("/"))
}

proptest! {
    #[test]
    fn a_filter_covers_only_what_it_matches(
        wide in filters(),
        narrow in filters(),
        names in prop::collection::vec(names(), 40),
    ) {
        if covers(&wide, &narrow) {
            for name in names.iter().filter(|name| topic::is_name(name)) {
                prop_assert!(!topic::matches(&narrow, name) || topic::matches(&wide, name), "{}", name);
            }
        }
        prop_assert!(covers(&wide, &wide));
    }

    #[test]
    fn what_is_received_was_not_denied_and_what_may_be_subscribed_to_by_name_is_received(
        rules in prop::collection::vec((filters(), any::<bool>()), 1..5),
        name in names().prop_filter("a name", |name| topic::is_name(name)),
    ) {
        let rules: Vec<_> =
            rules.into_iter().map(|(filter, yes)| if yes { allow(&filter) } else { deny(&filter) }).collect();
        let rights = over(&rules, EverythingRights, &Who::default());
        prop_assert_eq!(rights.may_subscribe(&name), rights.may_receive(&name));
    }
}
