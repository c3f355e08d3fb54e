use super::*;
use crate::record::format::ItemReader;
use proptest::prelude::*;
use serde_json::json;

/// JSON values as devices and people send them.
pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
        any::<i64>().prop_map(|number| json!(number)),
        (-1e12_f64..1e12).prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_survives_json_and_the_record_encoding(json in any_json()) {
        let value = Value::from_json(&json);
        prop_assert_eq!(value.to_json(), json.clone());
        prop_assert_eq!(serde_json::to_value(&value).expect("finite"), json);

        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut reader = ItemReader::new(&bytes);
        let borrowed = reader.value(8).expect("what was written can be read");
        prop_assert!(reader.is_empty());
        prop_assert!(value.same_as(&borrowed));
        prop_assert_eq!(&borrowed.to_owned(), &value);
    }

    #[test]
    fn two_values_are_the_same_exactly_when_they_are_equal(a in any_json(), b in any_json()) {
        let (a, b) = (Value::from_json(&a), Value::from_json(&b));
        let mut bytes = Vec::new();
        b.encode(&mut bytes);
        let borrowed = ItemReader::new(&bytes).value(8).expect("what was written can be read");
        prop_assert_eq!(a.same_as(&borrowed), a == b);
    }

    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = ItemReader::new(&bytes).value(8) {
            let owned = value.to_owned();
            prop_assert!(owned.same_as(&value));
        }
    }
}

#[test]
fn whole_numbers_stay_whole_and_equal_their_floating_twin() {
    let whole = Value::from_json(&json!(195));
    assert_eq!(whole.to_string(), "195");
    assert_eq!(whole, Value::from_json(&json!(195.0)));
    assert_eq!(
        Value::from_json(&json!(18_446_744_073_709_551_615_u64)),
        Value::Float(1.844_674_407_370_955_2e19)
    );
}

/// `{"a":1,"b":2,"a":3}` as a device may send it.
#[test]
fn of_a_member_that_comes_twice_the_last_value_counts() {
    let mut bytes = Vec::new();
    let mut writer = ItemWriter::new(&mut bytes);
    let start = writer.begin_map();
    for (name, number) in [("a", 1), ("b", 2), ("a", 3)] {
        writer.name(name);
        writer.int(number);
    }
    writer.end(start);
    let borrowed = ItemReader::new(&bytes).value(1).expect("it was written here");
    let owned = borrowed.to_owned();
    assert_eq!(owned.to_string(), r#"{"a":3,"b":2}"#);
    assert_eq!(owned, owned.clone());
    assert!(owned.same_as(&borrowed));
    assert!(!Value::from_json(&json!({"a": 1, "b": 2})).same_as(&borrowed));
    assert!(!Value::from_json(&json!({"a": 3, "b": 2, "c": 1})).same_as(&borrowed));
}

#[test]
fn the_order_of_members_does_not_matter() {
    let map = |names: [&str; 3]| Value::Map(names.map(|name| (name.into(), Value::text(name))).into());
    let (one, other) = (map(["a", "b", "c"]), map(["c", "a", "b"]));
    let mut bytes = Vec::new();
    Value::List([other.clone()].into()).encode(&mut bytes);
    let borrowed = ItemReader::new(&bytes).value(2).expect("it was written here");
    assert_eq!(one, other);
    assert!(Value::List([one].into()).same_as(&borrowed));
    assert_ne!(map(["a", "b", "d"]), other);
}

#[test]
fn a_value_is_small() {
    assert_eq!(size_of::<Value>(), 24);
}
