//! The export document's form is a contract: version 1 reads for ever, and today's export still writes it.

use egiz_store::{
    Author, DeviceKey, Expected, ExportOptions, ImportError, ImportOptions, NewDevice, RegistryDocument,
    Store, Template, ThingChange, ThingRow,
};

use egiz_model::{ThingId, Timestamp};

use crate::support::options;

const GOLDEN: &str = include_str!("../golden/registry-1.json");

#[tokio::test]
async fn the_golden_document_imports_and_exports_again_as_it_was() {
    let store = Store::open_in_memory(options()).await.unwrap();
    let document = RegistryDocument::from_json(GOLDEN).unwrap();
    let author = Author::new("tester", document.exported);
    let report = store.import(&document, ImportOptions::default(), &author).await.unwrap();
    assert!(report.applied, "{report:?}");
    let rows: Vec<_> = report
        .things
        .iter()
        .enumerate()
        .map(|(offset, thing)| {
            ThingChange::Upsert(ThingRow {
                thing_id: thing.thing_id.clone(),
                definition: thing.definition.clone(),
                attributes_json: serde_json::to_string(&thing.attributes).unwrap(),
                template: thing.template.clone(),
                revision: thing.revision,
                journal_offset: offset as u64,
                created: thing.created,
                modified: thing.modified,
            })
        })
        .collect();
    store.project_things(&rows, rows.len() as u64).await.unwrap();
    let exported = store.export(ExportOptions { credential_hashes: true }, &author).await.unwrap();
    assert_eq!(exported.to_json(), GOLDEN);
    let key = DeviceKey::new("factory", "oven-001");
    let identity =
        store.authenticate_device(&key, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA").await.unwrap();
    assert!(identity.is_some(), "the credential still works");
    let key = DeviceKey::new("factory", "oven-002");
    let identity = store.authenticate_device(&key, "correct horse battery").await.unwrap();
    assert!(identity.is_some(), "the chosen password still works");
}

#[tokio::test]
async fn what_is_not_a_registry_document_is_refused_with_the_reason() {
    for (text, expected) in [
        ("{", "document is not a registry export"),
        (
            "{\"format\":\"openegiz-registry\",\"version\":1,\"exported\":\"2026-01-01T00:00:00Z\",\"users\":[]}",
            "document is not a registry export",
        ),
        (
            "{\"format\":\"other\",\"version\":1,\"exported\":\"2026-01-01T00:00:00Z\"}",
            "document has the format \"other\", not \"openegiz-registry\"",
        ),
        (
            "{\"format\":\"openegiz-registry\",\"version\":2,\"exported\":\"2026-01-01T00:00:00Z\"}",
            "document has version 2; this program reads version 1",
        ),
    ] {
        let error: ImportError = RegistryDocument::from_json(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_document_without_items_is_sound() {
    let text = "{\"format\":\"openegiz-registry\",\"version\":1,\"exported\":\"2026-01-01T00:00:00Z\"}";
    let store = Store::open_in_memory(options()).await.unwrap();
    let document = RegistryDocument::from_json(text).unwrap();
    let report = store
        .import(&document, ImportOptions::default(), &Author::new("tester", Timestamp::from_seconds(0)))
        .await
        .unwrap();
    assert_eq!((report.applied, report.items.len()), (true, 0));
    // A template and a device made by hand take part in the next export.
    let template = Template::from_json(&serde_json::json!({"name": "a", "definition": "a:b:1"})).unwrap();
    store
        .put_template(&template, Expected::Absent, &Author::new("tester", Timestamp::from_seconds(0)))
        .await
        .unwrap();
    let device = NewDevice { key: DeviceKey::new("f", "a"), thing_id: ThingId::new("f:a").unwrap() };
    store.create_device(&device, &Author::new("tester", Timestamp::from_seconds(0))).await.unwrap();
    let exported = store
        .export(ExportOptions::default(), &Author::new("tester", Timestamp::from_seconds(0)))
        .await
        .unwrap();
    assert_eq!((exported.templates.len(), exported.devices.len()), (1, 1));
}
