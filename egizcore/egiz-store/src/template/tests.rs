use super::*;
use serde_json::json;

fn oven() -> Value {
    json!({
        "name": "tunnel-oven",
        "definition": "openegiz:tunnel-oven:1.0.0",
        "title": "Tunnel oven",
        "devices": ["oven-*"],
        "attributes": {"type": "oven"},
        "features": {"thermal": {"temperature_zones": {"unit": "°C", "type": "array", "warning_high": 230.0,
            "critical_high": 250.0, "decimals": 1, "recording": {"deadband": 0.2, "max_interval_s": 60.0}}}},
        "stale_after_s": 30
    })
}

fn check(change: impl Fn(&mut Value), expected: &[&str]) {
    let mut value = oven();
    change(&mut value);
    let faults = Template::from_json(&value).expect_err("the template has faults").faults;
    let shown: Vec<_> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_template_reads_back_as_written() {
    let template = Template::from_json(&oven()).unwrap();
    assert_eq!(template.to_json(), oven());
    assert_eq!(template.features["thermal"]["temperature_zones"].value_type, PropertyType::Array);
}

#[test]
fn each_fault_is_named_by_its_json_pointer() {
    check(
        |t| t["name"] = json!("has space"),
        &[
            "/name must be 1 to 128 characters of A-Z, a-z, 0-9, '-', '_', '.', and start with a letter or digit",
        ],
    );
    check(
        |t| t["definition"] = json!("oven"),
        &["/definition must read namespace:name:version, at most 256 characters"],
    );
    check(|t| t["stale_after_s"] = json!(0), &["/stale_after_s must be a whole number from 1 to 604800"]);
    check(|t| t["devices"] = json!(["oven-*", 7]), &["/devices/1 must be a text of 1 to 128 characters"]);
    check(
        |t| t["features"]["a/b"] = json!({"x~y": {"type": "float"}}),
        &["/features/a~1b/x~0y/type must be one of number, boolean, text, array"],
    );
    check(
        |t| t["features"]["thermal"]["temperature_zones"]["critical_high"] = json!(200),
        &["/features/thermal/temperature_zones/critical_high must not be below warning_high"],
    );
    check(
        |t| t["features"]["state"] = json!({"open": {"type": "boolean", "min": 0}}),
        &["/features/state/open/min is only for the types number and array"],
    );
    let zones = |t: &mut Value, recording: Value| {
        t["features"]["thermal"]["temperature_zones"]["recording"] = recording;
    };
    let at = |member: &str, reason: &str| {
        format!("/features/thermal/temperature_zones/recording{member} {reason}")
    };
    let most = "must be above 0 and at most 86400 seconds";
    check(|t| zones(t, json!({"deadband": -0.1})), &[&at("/deadband", "must not be below 0")]);
    check(|t| zones(t, json!({"min_interval_s": 0})), &[&at("/min_interval_s", most)]);
    check(|t| zones(t, json!({"max_interval_s": 86401})), &[&at("/max_interval_s", most)]);
    check(|t| zones(t, json!(0.5)), &[&at("", "must be an object")]);
    check(
        |t| zones(t, json!({"min_interval_s": 5, "max_interval_s": 4})),
        &[&at("/max_interval_s", "must not be below min_interval_s")],
    );
    check(
        |t| zones(t, json!({"dead_band": 1})),
        &[&at("/dead_band", "is unknown; known are deadband, min_interval_s, max_interval_s")],
    );
}

#[test]
fn all_faults_are_listed_at_once() {
    let faults = Template::from_json(&json!({"titel": "x", "stale_after_s": "soon"})).unwrap_err().faults;
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/titel", "/name", "/definition", "/stale_after_s"]);
}

#[test]
fn a_file_names_the_template_at_fault_and_duplicates() {
    let faults = |text: &str| parse_templates(text).unwrap_err().to_string();
    let two = json!({"templates": [oven(), oven()]}).to_string();
    assert_eq!(faults(&two), "/templates/1/name is used by an earlier template");
    assert_eq!(faults("[]"), "the document must be an object");
    assert!(faults("{").starts_with("the document is not JSON: EOF"));
    assert_eq!(parse_templates(&json!({"templates": [oven()]}).to_string()).unwrap().len(), 1);
}

#[test]
fn the_most_literal_pattern_wins() {
    let named = |name: &str, patterns: &[&str]| {
        let mut value = oven();
        value["name"] = json!(name);
        value["devices"] = json!(patterns);
        Template::from_json(&value).unwrap()
    };
    let templates = [
        named("any", &["*"]),
        named("oven", &["oven-*", "stove-*"]),
        named("first", &["oven-001"]),
        named("b", &["*"]),
    ];
    let best = |device: &str| best_match(&templates, device).map(|t| t.name.as_str());
    assert_eq!(best("oven-001"), Some("first"));
    assert_eq!(best("stove-9"), Some("oven"));
    assert_eq!(best("mixer"), Some("any"));
    assert_eq!(best_match(&templates[1..3], "mixer"), None);
}

#[test]
fn patterns_match_whole_names() {
    for (pattern, text, expected) in [
        ("oven-???", "oven-001", true),
        ("oven-???", "oven-0001", false),
        ("*-001", "oven-001", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
        ("ö?en", "öven", true),
    ] {
        assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(!glob_matches(
        &"*a".repeat(60),
        &"a".repeat(5_000).replace("aaaa", "aaab")[..4_999].replace('a', "b")
    ));
}

/// Any JSON, with the members of templates likely to occur.
fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z*?:/~ ]{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("name"),
        Just("definition"),
        Just("devices"),
        Just("features"),
        Just("attributes"),
        Just("type"),
        Just("min"),
        Just("warning_low"),
        Just("stale_after_s"),
        Just("decimals"),
        Just("a/b~c"),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn any_json_is_either_refused_with_faults_or_reads_back_as_written(value in any_json()) {
        match Template::from_json(&value) {
            Ok(template) => assert_eq!(Template::from_json(&template.to_json()), Ok(template)),
            Err(error) => {
                assert!(!error.faults.is_empty());
                for fault in &error.faults {
                    // A pointer leads to the value at fault, or to where a missing one would be.
                    let parent = fault.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                    assert!(value.pointer(parent).is_some(), "{fault}");
                }
            }
        }
    }

    #[test]
    fn patterns_agree_with_a_naive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        assert_eq!(glob_matches(&pattern, &text), naively(pattern.as_bytes(), text.as_bytes()));
    }
}

fn naively(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), None) => naively(rest, text),
        (Some((b'*', rest)), Some((_, shorter))) => naively(rest, text) || naively(pattern, shorter),
        (Some((b'?', rest)), Some((_, shorter))) => naively(rest, shorter),
        (Some((a, rest)), Some((b, shorter))) => a == b && naively(rest, shorter),
        (Some(_), None) => false,
    }
}
