//! What every backend must do. Each behaviour is a function over an empty store; `suite!` makes the tests of a
//! backend from a function that opens one.

use egiz_model::Timestamp;
use egiz_store::{
    Annotation, AnnotationQuery, Author, DeviceKey, Expected, ExportOptions, ImportOptions, ImportOutcome,
    NewCorrection, OnExisting, PageRequest, Projected, RegistryDocument, Role, Store, StoreError,
    ThingChange,
};
use serde_json::json;

use crate::support::{author, device, id, template, thing};

/// Makes one test per behaviour. `$open` is an async block that gives a guard and an empty [`Store`].
macro_rules! suite {
    ($open:expr) => {
        $crate::conformance::suite!(
            $open,
            a_batch_moves_rows_and_cursor_together,
            a_batch_that_was_applied_changes_nothing,
            only_the_last_change_of_a_thing_in_a_batch_counts,
            a_large_batch_is_applied_whole,
            a_reset_projection_starts_again_at_zero,
            pages_follow_each_other_by_key,
            a_template_is_written_only_over_the_expected_version,
            templates_are_seeded_once,
            a_device_is_created_once_and_can_be_listed,
            a_generated_secret_signs_a_device_in_until_it_is_replaced,
            a_chosen_password_signs_a_device_in,
            unknown_disabled_and_bare_devices_do_not_sign_in,
            names_that_would_break_a_topic_are_refused,
            an_api_token_carries_its_role,
            only_the_whole_text_of_an_api_token_is_accepted,
            a_revoked_api_token_is_refused_at_once_and_its_bearers_are_told,
            every_change_leaves_an_audit_entry_without_secrets,
            a_failed_change_leaves_no_audit_entry,
            the_audit_trail_is_trimmed_but_never_restarted,
            an_export_imports_into_an_empty_registry,
            credential_hashes_are_exported_only_when_asked_for,
            a_dry_run_reports_and_writes_nothing,
            one_refused_item_refuses_the_document,
            existing_items_are_kept_replaced_or_refused_as_asked,
            writers_do_not_lose_each_others_changes,
            an_installation_key_is_made_once,
            a_correction_is_kept_taken_back_and_its_number_never_used_again,
            an_annotation_is_changed_only_as_it_was_seen
        );
    };
    ($open:expr, $($behaviour:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let (_guard, store) = $open.await;
                $crate::conformance::$behaviour(&store).await;
                store.close().await;
            }
        )+
    };
}
pub(crate) use suite;

pub(crate) async fn a_batch_moves_rows_and_cursor_together(store: &Store) {
    assert_eq!(store.projection_offset().await.unwrap(), 0);
    let batch = [ThingChange::Upsert(thing("f:a", 3)), ThingChange::Upsert(thing("f:b", 4))];
    assert_eq!(store.project_things(&batch, 5).await.unwrap(), Projected::Applied);
    assert_eq!(store.projection_offset().await.unwrap(), 5);
    assert_eq!(store.thing(&id("f:a")).await.unwrap(), Some(thing("f:a", 3)));
    // Records without registry content move the cursor, too.
    assert_eq!(store.project_things(&[], 9).await.unwrap(), Projected::Applied);
    let batch = [ThingChange::Delete { thing_id: id("f:a") }];
    assert_eq!(store.project_things(&batch, 10).await.unwrap(), Projected::Applied);
    assert_eq!(store.thing(&id("f:a")).await.unwrap(), None);
    assert_eq!(store.projection_offset().await.unwrap(), 10);
}

pub(crate) async fn a_batch_that_was_applied_changes_nothing(store: &Store) {
    store.project_things(&[ThingChange::Upsert(thing("f:a", 7))], 8).await.unwrap();
    for next_offset in [8, 3] {
        let stale = [ThingChange::Upsert(thing("f:a", 1)), ThingChange::Upsert(thing("f:b", 2))];
        assert_eq!(store.project_things(&stale, next_offset).await.unwrap(), Projected::AlreadyApplied);
    }
    assert_eq!(store.thing(&id("f:a")).await.unwrap(), Some(thing("f:a", 7)));
    assert_eq!(store.thing(&id("f:b")).await.unwrap(), None);
    assert_eq!(store.projection_offset().await.unwrap(), 8);
}

pub(crate) async fn only_the_last_change_of_a_thing_in_a_batch_counts(store: &Store) {
    let gone = |text: &str| ThingChange::Delete { thing_id: id(text) };
    let batch = [
        ThingChange::Upsert(thing("f:a", 0)),
        gone("f:a"),
        ThingChange::Upsert(thing("f:a", 2)),
        ThingChange::Upsert(thing("f:b", 3)),
        gone("f:b"),
    ];
    store.project_things(&batch, 5).await.unwrap();
    assert_eq!(store.thing(&id("f:a")).await.unwrap(), Some(thing("f:a", 2)));
    assert_eq!(store.thing(&id("f:b")).await.unwrap(), None);
}

pub(crate) async fn a_large_batch_is_applied_whole(store: &Store) {
    let things: Vec<_> = (0..2_345).map(|n| ThingChange::Upsert(thing(&format!("f:{n:05}"), n))).collect();
    store.project_things(&things, 2_345).await.unwrap();
    let page = store.list_things(PageRequest::after("f:02339".into(), 10)).await.unwrap();
    assert_eq!(page.items.len(), 5);
    let gone: Vec<_> =
        (0..2_000).map(|n| ThingChange::Delete { thing_id: id(&format!("f:{n:05}")) }).collect();
    store.project_things(&gone, 2_346).await.unwrap();
    let page = store.list_things(PageRequest::first(1_000)).await.unwrap();
    assert_eq!((page.items.len(), page.next), (345, None));
}

pub(crate) async fn a_reset_projection_starts_again_at_zero(store: &Store) {
    store.project_things(&[ThingChange::Upsert(thing("f:a", 7))], 8).await.unwrap();
    store.reset_projection().await.unwrap();
    assert_eq!(store.projection_offset().await.unwrap(), 0);
    assert_eq!(store.list_things(PageRequest::first(10)).await.unwrap().items, []);
}

pub(crate) async fn pages_follow_each_other_by_key(store: &Store) {
    for site in ["b", "a"] {
        for name in ["x", "z", "y"] {
            let mut new = device(name);
            new.key.site = site.into();
            store.create_device(&new, &author()).await.unwrap();
        }
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_devices(PageRequest { after, limit: 4 }).await.unwrap();
        seen.extend(page.items.iter().map(|device| device.key.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a/x", "a/y", "a/z", "b/x", "b/y", "b/z"]);
    assert_eq!(
        store.list_devices(PageRequest::first(0)).await.unwrap().items.len(),
        1,
        "a page has at least one item"
    );
}

pub(crate) async fn a_template_is_written_only_over_the_expected_version(store: &Store) {
    let oven = template("oven");
    assert_eq!(store.put_template(&oven, Expected::Absent, &author()).await.unwrap(), 1);
    let again = store.put_template(&oven, Expected::Absent, &author()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(store.put_template(&oven, Expected::Version(1), &author()).await.unwrap(), 2);
    let stale = store.put_template(&oven, Expected::Version(1), &author()).await.unwrap_err();
    assert_eq!(stale.to_string(), "template oven has version 2, not the expected 1");
    assert_eq!(store.put_template(&oven, Expected::Anything, &author()).await.unwrap(), 3);
    let stored = store.template("oven").await.unwrap().unwrap();
    assert_eq!((stored.version, stored.template), (3, oven));
    let stale = store.delete_template("oven", Expected::Version(2), &author()).await;
    assert!(matches!(stale, Err(StoreError::VersionConflict { .. })));
    store.delete_template("oven", Expected::Version(3), &author()).await.unwrap();
    let gone = store.delete_template("oven", Expected::Anything, &author()).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
}

pub(crate) async fn templates_are_seeded_once(store: &Store) {
    let seeds = [template("oven"), template("mixer")];
    store.put_template(&seeds[0], Expected::Absent, &author()).await.unwrap();
    assert_eq!(store.seed_templates(&seeds, &author()).await.unwrap(), 1);
    store.delete_template("mixer", Expected::Anything, &author()).await.unwrap();
    assert_eq!(store.seed_templates(&seeds, &author()).await.unwrap(), 0);
    assert_eq!(store.template("mixer").await.unwrap(), None, "a deleted template stays deleted");
}

pub(crate) async fn a_device_is_created_once_and_can_be_listed(store: &Store) {
    store.create_device(&device("oven-001"), &author()).await.unwrap();
    let again = store.create_device(&device("oven-001"), &author()).await.unwrap_err();
    assert_eq!(again.to_string(), "device factory/oven-001 exists already");
    let found = store.device(&DeviceKey::new("factory", "oven-001")).await.unwrap().unwrap();
    assert_eq!(
        (found.thing_id.as_str(), found.has_credential, found.enabled),
        ("factory:oven-001", false, true)
    );
    store.delete_device(&found.key, &author()).await.unwrap();
    assert_eq!(store.device(&found.key).await.unwrap(), None);
}

pub(crate) async fn a_generated_secret_signs_a_device_in_until_it_is_replaced(store: &Store) {
    let new = device("oven-001");
    store.create_device(&new, &author()).await.unwrap();
    let first = store.generate_device_secret(&new.key, &author()).await.unwrap();
    let identity = store.authenticate_device(&new.key, first.expose()).await.unwrap().unwrap();
    assert_eq!(identity.thing_id, id("factory:oven-001"));
    let second = store.generate_device_secret(&new.key, &author()).await.unwrap();
    assert!(store.authenticate_device(&new.key, first.expose()).await.unwrap().is_none());
    assert!(store.authenticate_device(&new.key, second.expose()).await.unwrap().is_some());
    store.remove_device_credential(&new.key, &author()).await.unwrap();
    assert!(store.authenticate_device(&new.key, second.expose()).await.unwrap().is_none());
    let changed = store.device(&new.key).await.unwrap().unwrap().credential_changed;
    assert_eq!(changed, Some(author().at));
}

pub(crate) async fn a_chosen_password_signs_a_device_in(store: &Store) {
    let new = device("oven-001");
    store.create_device(&new, &author()).await.unwrap();
    let short = store.set_device_password(&new.key, "short", &author()).await.unwrap_err();
    assert_eq!(short.to_string(), "password must have at least 12 characters");
    store.set_device_password(&new.key, "correct horse battery", &author()).await.unwrap();
    for _ in 0..3 {
        assert!(store.authenticate_device(&new.key, "correct horse battery").await.unwrap().is_some());
    }
    assert!(store.authenticate_device(&new.key, "correct horse battered").await.unwrap().is_none());
}

pub(crate) async fn unknown_disabled_and_bare_devices_do_not_sign_in(store: &Store) {
    let new = device("oven-001");
    let refused =
        async |presented: &str| store.authenticate_device(&new.key, presented).await.unwrap().is_none();
    assert!(refused("correct horse battery").await, "unknown");
    store.create_device(&new, &author()).await.unwrap();
    assert!(refused("correct horse battery").await, "without a credential");
    assert!(refused("").await);
    let secret = store.generate_device_secret(&new.key, &author()).await.unwrap();
    store.enable_device(&new.key, false, &author()).await.unwrap();
    assert!(refused(secret.expose()).await, "disabled");
    store.enable_device(&new.key, true, &author()).await.unwrap();
    assert!(!refused(secret.expose()).await);
    let other = DeviceKey::new("other-site", "oven-001");
    assert!(store.authenticate_device(&other, secret.expose()).await.unwrap().is_none(), "another site");
}

pub(crate) async fn names_that_would_break_a_topic_are_refused(store: &Store) {
    for name in ["", "a/b", "a+b", "#", "$SYS", "-a", "a b", "é", "a\0", "a:b", &"x".repeat(129)] {
        let mut new = device("oven");
        new.key.name = name.to_owned();
        let result = store.create_device(&new, &author()).await;
        assert!(matches!(result, Err(StoreError::Invalid { field: "name", .. })), "{name:?}");
    }
}

pub(crate) async fn an_api_token_carries_its_role(store: &Store) {
    for role in [Role::Viewer, Role::Operator, Role::Admin, Role::Service] {
        let token = store.create_api_token(role.as_str(), role, &author()).await.unwrap();
        let identity = store.authenticate_api_token(token.expose()).unwrap();
        assert_eq!((&*identity.name, identity.role), (role.as_str(), role));
    }
    let listed = store.list_api_tokens(PageRequest::first(10)).await.unwrap().items;
    assert_eq!(
        listed.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["admin", "operator", "service", "viewer"]
    );
    let again = store.create_api_token("admin", Role::Viewer, &author()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
}

pub(crate) async fn only_the_whole_text_of_an_api_token_is_accepted(store: &Store) {
    let token = store.create_api_token("script", Role::Viewer, &author()).await.unwrap().expose().to_owned();
    let other = store.create_api_token("other", Role::Admin, &author()).await.unwrap().expose().to_owned();
    let secret = token.rsplit('.').next().unwrap();
    let wrong = [
        String::new(),
        "egiz.".into(),
        "egiz.script.".into(),
        secret.into(),
        token[..token.len() - 1].into(),
        format!("{token}x"),
        token.replace("egiz.", "EGIZ."),
        token.replace(".script.", ".other."),
        format!("egiz.nobody.{secret}"),
        other.replace(".other.", ".script."),
    ];
    for text in wrong {
        assert!(store.authenticate_api_token(&text).is_none(), "{text}");
    }
    for name in ["api", "anonymous", "a.b", "", "a b"] {
        let refused = store.create_api_token(name, Role::Viewer, &author()).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "name", .. })), "{name}");
    }
}

pub(crate) async fn a_revoked_api_token_is_refused_at_once_and_its_bearers_are_told(store: &Store) {
    assert!(!store.has_api_tokens());
    let token = store.create_api_token("script", Role::Viewer, &author()).await.unwrap().expose().to_owned();
    assert!(store.has_api_tokens());
    let bearer = store.authenticate_api_token(&token).unwrap();
    assert!(!bearer.revoked.is_cancelled());

    store.enable_api_token("script", false, &author()).await.unwrap();
    assert!(store.authenticate_api_token(&token).is_none(), "disabled");
    assert!(bearer.revoked.is_cancelled());
    assert!(!store.api_token("script").await.unwrap().enabled);

    store.enable_api_token("script", true, &author()).await.unwrap();
    let again = store.authenticate_api_token(&token).unwrap();
    assert!(!again.revoked.is_cancelled());
    store.enable_api_token("script", true, &author()).await.unwrap();
    assert!(!again.revoked.is_cancelled(), "it was enabled already");

    store.delete_api_token("script", &author()).await.unwrap();
    assert!(store.authenticate_api_token(&token).is_none(), "deleted");
    assert!(again.revoked.is_cancelled());
    assert!(matches!(store.api_token("script").await, Err(StoreError::NotFound { .. })));

    let other = store.create_api_token("script", Role::Admin, &author()).await.unwrap();
    assert!(store.authenticate_api_token(&token).is_none(), "a new token of the old name");
    assert_eq!(store.authenticate_api_token(other.expose()).unwrap().role, Role::Admin);
}

pub(crate) async fn every_change_leaves_an_audit_entry_without_secrets(store: &Store) {
    let new = device("oven-001");
    store.put_template(&template("oven"), Expected::Anything, &author()).await.unwrap();
    store.create_device(&new, &author()).await.unwrap();
    let secret = store.generate_device_secret(&new.key, &author()).await.unwrap();
    store.set_device_password(&new.key, "correct horse battery", &author()).await.unwrap();
    store.enable_device(&new.key, false, &author()).await.unwrap();
    let token = store.create_api_token("script", Role::Admin, &author()).await.unwrap();
    store.delete_device(&new.key, &author()).await.unwrap();
    store.add_audit(&author(), "sign_in.refused", "factory/oven-002", json!({"peer": "::1"})).await.unwrap();
    let entries = store.list_audit(PageRequest::first(100)).await.unwrap().items;
    let actions: Vec<_> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "template.put",
            "device.create",
            "device.credential",
            "device.credential",
            "device.enable",
            "api_token.create",
            "device.delete",
            "sign_in.refused",
        ]
    );
    let shown = format!("{entries:?}");
    let token_secret = token.expose().rsplit('.').next().unwrap();
    for hidden in [secret.expose(), "correct horse", token_secret, "argon2", "sha256"] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
}

pub(crate) async fn a_failed_change_leaves_no_audit_entry(store: &Store) {
    let missing = DeviceKey::new("factory", "none");
    assert!(store.enable_device(&missing, true, &author()).await.is_err());
    assert!(store.generate_device_secret(&missing, &author()).await.is_err());
    assert!(store.delete_api_token("none", &author()).await.is_err());
    assert!(store.put_template(&template("oven"), Expected::Version(9), &author()).await.is_err());
    assert_eq!(store.list_audit(PageRequest::first(10)).await.unwrap().items, []);
}

pub(crate) async fn the_audit_trail_is_trimmed_but_never_restarted(store: &Store) {
    for second in 0..5 {
        store
            .add_audit(&Author::new("tester", Timestamp::from_seconds(second)), "test", "", json!({}))
            .await
            .unwrap();
    }
    let page = store.list_audit(PageRequest::first(2)).await.unwrap();
    assert_eq!(page.items.iter().map(|e| e.sequence).collect::<Vec<_>>(), [5, 4]);
    let page = store.list_audit(PageRequest { after: page.next, limit: 2 }).await.unwrap();
    assert_eq!(page.items.iter().map(|e| e.sequence).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(store.trim_audit(Timestamp::MAX).await.unwrap(), 4, "the newest stays");
    store.add_audit(&Author::new("tester", Timestamp::from_seconds(9)), "test", "", json!({})).await.unwrap();
    let left = store.list_audit(PageRequest::first(10)).await.unwrap().items;
    assert_eq!(left.iter().map(|e| e.sequence).collect::<Vec<_>>(), [6, 5]);
}

/// Fills a registry with one of everything and gives the device's secret.
async fn fill(store: &Store) -> String {
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    store.create_device(&device("oven-001"), &author()).await.unwrap();
    store.project_things(&[ThingChange::Upsert(thing("factory:oven-001", 7))], 8).await.unwrap();
    let key = device("oven-001").key;
    store.generate_device_secret(&key, &author()).await.unwrap().expose().to_owned()
}

/// Empties what an import writes.
async fn empty(store: &Store) {
    store.delete_template("oven", Expected::Anything, &author()).await.unwrap();
    store.delete_device(&device("oven-001").key, &author()).await.unwrap();
    store.reset_projection().await.unwrap();
}

pub(crate) async fn an_export_imports_into_an_empty_registry(store: &Store) {
    let secret = fill(store).await;
    let exported = store.export(ExportOptions { credential_hashes: true }, &author()).await.unwrap();
    empty(store).await;
    let document = RegistryDocument::from_json(&exported.to_json()).unwrap();
    let report = store.import(&document, ImportOptions::default(), &author()).await.unwrap();
    assert!(report.applied);
    let outcomes: Vec<_> =
        report.items.iter().map(|i| (i.pointer.as_str(), i.key.as_str(), &i.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("/templates/0", "oven", &ImportOutcome::Created),
            ("/things/0", "factory:oven-001", &ImportOutcome::ToSubmit),
            ("/devices/0", "factory/oven-001", &ImportOutcome::Created),
        ]
    );
    assert_eq!(report.things[0].attributes["line"], "line-1");
    assert_eq!(
        store.thing(&id("factory:oven-001")).await.unwrap(),
        None,
        "Things come back through the journal only"
    );
    assert!(store.authenticate_device(&device("oven-001").key, &secret).await.unwrap().is_some());
    let again = store.import(&document, ImportOptions::default(), &author()).await.unwrap();
    assert!(
        again.items.iter().all(|i| matches!(i.outcome, ImportOutcome::Unchanged | ImportOutcome::ToSubmit))
    );
}

pub(crate) async fn credential_hashes_are_exported_only_when_asked_for(store: &Store) {
    fill(store).await;
    let plain = store.export(ExportOptions::default(), &author()).await.unwrap().to_json();
    assert!(!plain.contains("sha256") && !plain.contains("credential"), "{plain}");
    let with = store.export(ExportOptions { credential_hashes: true }, &author()).await.unwrap().to_json();
    assert!(with.contains("sha256$"));
    let newest = store.list_audit(PageRequest::first(1)).await.unwrap().items;
    assert_eq!(newest[0].action, "registry.export");
}

pub(crate) async fn a_dry_run_reports_and_writes_nothing(store: &Store) {
    fill(store).await;
    let document = store.export(ExportOptions::default(), &author()).await.unwrap();
    empty(store).await;
    let before = store.list_audit(PageRequest::first(1)).await.unwrap().items;
    let options = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let report = store.import(&document, options, &author()).await.unwrap();
    assert_eq!((report.applied, report.items[0].outcome.clone()), (false, ImportOutcome::Created));
    assert_eq!(store.template("oven").await.unwrap(), None);
    assert_eq!(store.list_audit(PageRequest::first(1)).await.unwrap().items, before);
}

pub(crate) async fn one_refused_item_refuses_the_document(store: &Store) {
    fill(store).await;
    let mut document = store.export(ExportOptions::default(), &author()).await.unwrap();
    empty(store).await;
    document.devices.push(json!({"site": "factory", "name": "a/b", "thing_id": "factory:x"}));
    document.devices.push(json!({"site": "f", "name": "b", "thing_id": "f:b", "credential": "plain text"}));
    document.things.push(json!({"thing_id": "nosite"}));
    document.templates.push(json!({"name": "x", "definition": "x"}));
    let report = store.import(&document, ImportOptions::default(), &author()).await.unwrap();
    let refused: Vec<_> = report.refused().map(|item| item.pointer.as_str()).collect();
    assert_eq!(refused, ["/templates/1", "/things/1", "/devices/1", "/devices/2"]);
    assert_eq!((report.applied, report.things.len()), (false, 0));
    assert_eq!(store.template("oven").await.unwrap(), None);
    assert_eq!(store.device(&device("oven-001").key).await.unwrap(), None);
}

pub(crate) async fn existing_items_are_kept_replaced_or_refused_as_asked(store: &Store) {
    let secret = fill(store).await;
    let mut document = store.export(ExportOptions::default(), &author()).await.unwrap();
    document.templates[0]["title"] = json!("Another title");
    document.devices[0]["thing_id"] = json!("factory:oven-009");
    let import = async |on_existing| {
        let options = ImportOptions { on_existing, ..ImportOptions::default() };
        store.import(&document, options, &author()).await.unwrap()
    };
    assert_eq!(import(OnExisting::Refuse).await.refused().count(), 2);
    let kept = import(OnExisting::Keep).await;
    assert_eq!((kept.applied, &kept.items[0].outcome), (true, &ImportOutcome::Kept));
    assert_eq!(store.template("oven").await.unwrap().unwrap().template.title, "A template");
    let replaced = import(OnExisting::Replace).await;
    assert_eq!((replaced.applied, &replaced.items[2].outcome), (true, &ImportOutcome::Replaced));
    let stored = store.template("oven").await.unwrap().unwrap();
    assert_eq!((stored.template.title.as_str(), stored.version), ("Another title", 2));
    let identity = store.authenticate_device(&device("oven-001").key, &secret).await.unwrap();
    assert_eq!(identity.unwrap().thing_id, id("factory:oven-009"), "a device keeps its credential");
}

pub(crate) async fn writers_do_not_lose_each_others_changes(store: &Store) {
    store.put_template(&template("oven"), Expected::Absent, &author()).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut won = 0;
                for _ in 0..5 {
                    let version = store.template("oven").await.unwrap().unwrap().version;
                    let put =
                        store.put_template(&template("oven"), Expected::Version(version), &author()).await;
                    won += u64::from(put.is_ok());
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += task.await.unwrap();
    }
    assert!(won > 0);
    assert_eq!(store.template("oven").await.unwrap().unwrap().version, 1 + won);
}

pub(crate) async fn an_installation_key_is_made_once(store: &Store) {
    let key = store.installation_key("cursor").await.unwrap();
    assert_eq!(store.installation_key("cursor").await.unwrap(), key);
    assert_ne!(store.installation_key("other").await.unwrap(), key);
    assert_ne!(key, [0; 32]);
    assert!(matches!(store.installation_key("no/name").await, Err(StoreError::Invalid { .. })));
}

pub(crate) async fn a_correction_is_kept_taken_back_and_its_number_never_used_again(store: &Store) {
    let second = Timestamp::from_seconds;
    let (oven, everything) = (id("factory:oven-001"), (Timestamp::MIN, Timestamp::MAX));
    let new = |from: i64, value: serde_json::Value| NewCorrection {
        thing_id: oven.clone(),
        feature: "thermal".to_owned(),
        property: "zones".to_owned(),
        item: Some(2),
        from: second(from),
        to: second(from + 10),
        value: Some(value),
        quality: egiz_model::Quality::Uncertain,
        reason: "misread".to_owned(),
    };
    let first = store.add_correction(&new(100, json!(1.5)), &author()).await.unwrap();
    let newest = store.add_correction(&new(200, json!("text")), &author()).await.unwrap();
    assert_eq!((first.id, newest.id), (1, 2));
    assert_eq!(store.correction(&oven, 1).await.unwrap(), first);
    assert_eq!(store.corrections_in_force().await.unwrap(), [first.clone(), newest.clone()]);
    let of_other = store.undo_correction(&id("factory:oven-002"), 2, &author()).await;
    assert!(matches!(of_other, Err(StoreError::NotFound { .. })), "{of_other:?}");
    let undone = store.undo_correction(&oven, 2, &author()).await.unwrap();
    assert_eq!(undone.undone, Some(author()));
    assert!(store.undo_correction(&oven, 2, &author()).await.is_err(), "once is enough");
    assert_eq!(store.correction(&oven, 2).await.unwrap(), undone);
    assert_eq!(store.corrections_in_force().await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.add_correction(&new(300, json!(true)), &author()).await.unwrap().id, 3);
    let page = |range, with_undone, request| {
        let oven = oven.clone();
        async move {
            let page = store.list_corrections(&oven, range, with_undone, request).await.unwrap();
            (page.items.iter().map(|item| item.id).collect::<Vec<_>>(), page.next)
        }
    };
    assert_eq!(page(everything, true, PageRequest::first(2)).await, (vec![1, 2], Some(2)));
    assert_eq!(page(everything, true, PageRequest::after(2, 2)).await, (vec![3], None));
    assert_eq!(page((second(110), second(300)), true, PageRequest::first(9)).await, (vec![2], None));
    assert_eq!(page((second(110), second(301)), false, PageRequest::first(9)).await, (vec![3], None));
    let wrong = NewCorrection { reason: String::new(), ..new(1, json!(1)) };
    assert!(matches!(
        store.add_correction(&wrong, &author()).await,
        Err(StoreError::Invalid { field: "reason", .. })
    ));
    let wrong = NewCorrection { to: second(1), ..new(1, json!(1)) };
    assert!(matches!(
        store.add_correction(&wrong, &author()).await,
        Err(StoreError::Invalid { field: "to", .. })
    ));
}

pub(crate) async fn an_annotation_is_changed_only_as_it_was_seen(store: &Store) {
    let second = Timestamp::from_seconds;
    let annotation = |from: i64, to: i64, thing: Option<&str>| Annotation {
        thing_id: thing.map(id),
        property: thing.map(|_| ("thermal".to_owned(), "zone".to_owned())),
        from: second(from),
        to: second(to),
        category: "note".to_owned(),
        text: "seen".to_owned(),
    };
    let first = store.add_annotation(&annotation(100, 200, Some("f:a")), &author()).await.unwrap();
    store.add_annotation(&annotation(100, 100, None), &author()).await.unwrap();
    assert_eq!(store.annotation(1).await.unwrap(), first);
    let another = Annotation { text: "changed".to_owned(), ..first.annotation.clone() };
    let changed = store.change_annotation(1, 1, &another, &author()).await.unwrap();
    assert_eq!((changed.version, &*changed.annotation.text), (2, "changed"));
    let again = store.change_annotation(1, 1, &another, &author()).await;
    assert!(matches!(again, Err(StoreError::VersionConflict { actual: 2, .. })), "{again:?}");
    assert!(matches!(
        store.delete_annotation(1, Some(1), &author()).await,
        Err(StoreError::VersionConflict { .. })
    ));
    let found = |query: AnnotationQuery, from: i64, to: i64| async move {
        let range = (second(from), second(to));
        let page = store.list_annotations(&query, range, PageRequest::first(10)).await.unwrap();
        page.items.iter().map(|item| item.id).collect::<Vec<_>>()
    };
    assert_eq!(found(AnnotationQuery::default(), 0, 101).await, [1, 2]);
    assert_eq!(found(AnnotationQuery::default(), 100, 101).await, [1, 2]);
    assert_eq!(found(AnnotationQuery::default(), 101, 200).await, [1]);
    assert_eq!(found(AnnotationQuery::default(), 200, 300).await, [] as [u64; 0]);
    let of_thing = AnnotationQuery { thing_id: Some(id("f:a")), ..AnnotationQuery::default() };
    assert_eq!(found(of_thing, 0, 300).await, [1]);
    store.delete_annotation(1, None, &author()).await.unwrap();
    store.delete_annotation(2, Some(1), &author()).await.unwrap();
    assert!(matches!(store.annotation(2).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.add_annotation(&annotation(1, 1, None), &author()).await.unwrap().id, 3);
    let of_site = Annotation { thing_id: None, ..annotation(1, 1, Some("f:a")) };
    assert!(matches!(
        store.add_annotation(&of_site, &author()).await,
        Err(StoreError::Invalid { field: "property", .. })
    ));
}
