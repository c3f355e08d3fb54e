use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn filters_are_read_and_written_back() {
    for text in [
        "eq(attributes/type,\"oven\")",
        "and(gt(features/thermal/properties/temperature_zones,190),not(exists(attributes/retired)))",
        "or(in(attributes/line,\"1\",2,true,null),like(thingId,\"factory:oven-*\"))",
        "ilike(attributes/name,\"?ven \\\"a\\\"\")",
        "empty(features/*/properties/x)",
        "le(_modified,\"2026-11-23T10:00:00Z\")",
        "eq(_connection,\"stale\")",
        "ge(_revision,7)",
        "lt(attributes/n,-1.5)",
    ] {
        assert_eq!(Filter::parse(text).map(|filter| filter.to_string()), Ok(text.to_owned()));
    }
    let quoted = Filter::parse("exists('attributes/a,b) \\'c\\'')").expect("a quoted path");
    assert_eq!(quoted.to_string(), "exists(\"attributes/a,b) 'c'\")");
    assert_eq!(Filter::parse(&quoted.to_string()), Ok(quoted));
    let spaced = Filter::parse(" and ( eq ( attributes/type , 'o\\'ven' ) , eq(definition,'a') ) ")
        .expect("spaces are fine");
    assert_eq!(spaced.to_string(), "and(eq(attributes/type,\"o'ven\"),eq(definition,\"a\"))");
    assert_eq!(
        Filter::parse("eq(attributes/a,\"\\u00e9\\ud83d\\ude00\")").expect("escapes").to_string(),
        "eq(attributes/a,\"é😀\")"
    );
}

#[test]
fn an_error_says_where_and_what_is_allowed() {
    let check = |text: &str, position, part: &str| {
        let error = Filter::parse(text).expect_err(text);
        assert_eq!(error.position, position, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    };
    check("", 1, "a filter is expected");
    check("foo(a)", 1, "`foo` is no filter; allowed are and, or");
    check("eq(attributes/type)", 19, "`,` is expected, not `)`");
    check("eq(type,1)", 4, "`type` is no path; allowed are thingId");
    check("eq(attributes/type,oven)", 20, "`oven` is no value; allowed are a text in quotes");
    check("eq(attributes/type,\"oven", 20, "closing quote");
    check("eq(attributes/type,1", 21, "`)` is expected, not the end");
    check("eq(attributes/type,1))", 22, "more text follows");
    check("like(attributes/type,5)", 22, "a pattern is a text");
    check("in(attributes/type)", 19, "at least one value");
    check(&format!("like(thingId,'{}')", "*".repeat(257)), 14, "at most 256 bytes");
    check("eq(attributes/é,\"\\x\")", 18, "allowed after");
    check(&"not(".repeat(20), 65, "16 deep");
    check(&"x".repeat(9000), 0, "9000 bytes");
}

#[test]
fn the_simple_form_compares_attributes() {
    let check = |json: serde_json::Value, expected: &str| {
        assert_eq!(Filter::from_simple(&json).map(|filter| filter.to_string()), Ok(expected.to_owned()));
    };
    check(json!({"type": "oven"}), "eq(attributes/type,\"oven\")");
    check(json!({"type": ["oven", "mixer"]}), "in(attributes/type,\"oven\",\"mixer\")");
    check(json!({"thingId": "factory:a"}), "eq(thingId,\"factory:a\")");
    check(
        json!({"features/thermal/properties/x": 5, "type": "oven"}),
        "and(eq(features/thermal/properties/x,5),eq(attributes/type,\"oven\"))",
    );
    check(json!({}), "and()");
    assert!(Filter::from_simple(&json!([])).is_err());
    for wrong in [json!({"a": {"b": 1}}), json!({"a": [[1]]}), json!({"a": []}), json!({"a": vec![1; 1025]})]
    {
        let error = Filter::from_simple(&wrong).expect_err("it is no filter");
        assert!(error.message.contains("`a`") || error.message.contains("1025 values"), "{error}");
    }
}

/// Texts with everything that means something in a filter.
fn text() -> impl Strategy<Value = String> {
    "[a*?,()\"'\\\\/~é \n\u{1}😀]{0,6}"
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let path = prop_oneof![
        Just(Path::ThingId),
        Just(Path::Modified),
        prop::collection::vec(text().prop_filter("a name", |name| !name.is_empty()), 1..3)
            .prop_map(Path::Attribute),
        (prop::option::of("[a,()\"' ]{1,4}"), "[a,()'/~]{1,3}", any::<bool>())
            .prop_map(|(feature, name, desired)| { Path::Property { feature, inner: vec![name], desired } }),
        (prop::option::of("[a,()]{1,3}"), prop::option::of("[a,()]{1,3}"))
            .prop_map(|(feature, property)| Path::Quality { feature, property }),
    ];
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        prop::num::f64::NORMAL.prop_map(Value::Float),
        text().prop_map(|text| Value::text(&text)),
    ];
    let operator = prop::sample::select(Operator::ALL.to_vec());
    let leaf = prop_oneof![
        (path.clone(), operator, value.clone()).prop_map(|(path, operator, value)| Node::Compare {
            path,
            operator,
            value
        }),
        (path.clone(), prop::collection::vec(value, 1..4))
            .prop_map(|(path, values)| Node::In { path, values }),
        (path.clone(), text(), any::<bool>()).prop_map(|(path, pattern, ignore_case)| Node::Like {
            path,
            pattern,
            ignore_case
        }),
        path.clone().prop_map(Node::Exists),
        path.prop_map(Node::Empty),
    ];
    let node = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Node::And),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Node::Or),
            inner.prop_map(|node| Node::Not(Box::new(node))),
        ]
    });
    node.prop_map(Filter)
}

proptest! {
    #[test]
    fn every_filter_is_read_as_it_was_written(filter in any_filter()) {
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()), "{}", filter);
    }

    #[test]
    fn outside_text_never_panics(text in "\\PC{0,80}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn broken_filters_never_panic(cut in any::<prop::sample::Index>(), put in any::<char>()) {
        let text = "and(eq(attributes/type,\"ov\\u00e9n\"),or(in(features/*/properties/x,1,-2.5e3,null),like(thingId,'a*?')))";
        let at = cut.index(text.len());
        let broken = format!("{}{put}{}", &text[..at], &text[(at + 1).min(text.len())..]);
        if let Ok(filter) = Filter::parse(&broken) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
