use super::*;
use proptest::prelude::*;

fn check(line: &str, expected: &str) {
    let said = match parse(line.as_bytes(), LineLimits::default()) {
        Ok(point) => shown(&point),
        Err(error) => format!("error: {error}"),
    };
    match expected.strip_suffix('…') {
        Some(beginning) => assert!(said.starts_with(beginning), "{line}\n{said}"),
        None => assert_eq!(said, expected, "{line}"),
    }
}

fn shown(point: &Point<'_>) -> String {
    let tags: Vec<String> = point.tags.iter().map(|(key, value)| format!("{key}→{value}")).collect();
    let fields: Vec<String> = point.fields.iter().map(|(key, value)| format!("{key}→{value:?}")).collect();
    let time = point.time.map_or_else(|| "now".to_owned(), |time| time.to_string());
    format!("{} [{}] [{}] {time}", point.measurement, tags.join(" "), fields.join(" "))
}

#[test]
fn a_line_is_a_point() {
    check(
        "cpu,host=server01,cpu=cpu0 usage_idle=98.2,n=3i 1700000000000000000",
        "cpu [host→server01 cpu→cpu0] [usage_idle→Float(98.2) n→Integer(3)] 1700000000000000000",
    );
    check("m v=1", "m [] [v→Float(1.0)] now");
    check("m  v=1   -5 ", "m [] [v→Float(1.0)] -5");
    check("m v=18446744073709551615u", "m [] [v→Unsigned(18446744073709551615)] now");
    for (text, truth) in [("t", true), ("TRUE", true), ("True", true), ("f", false), ("false", false)] {
        check(&format!("m v={text}"), &format!("m [] [v→Boolean({truth})] now"));
    }
    for (text, number) in
        [(".5", "0.5"), ("5.", "5.0"), ("+5", "5.0"), ("-1.5e+3", "-1500.0"), ("1E-2", "0.01")]
    {
        check(&format!("m v={text}"), &format!("m [] [v→Float({number})] now"));
    }
}

#[test]
fn what_is_escaped_is_no_separator() {
    check(r"a\ b\,c,k\=1\,\ x=v\ 1\=2 f\ g=1", r"a b,c [k=1, x→v 1=2] [f g→Float(1.0)] now");
    check(r"m\x,t=\y f=1", r"m\x [t→\y] [f→Float(1.0)] now");
    check(r#"m v="say \"hi\", a=b c\\d\e" 7"#, r#"m [] [v→Text("say \"hi\", a=b c\\d\\e")] 7"#);
    check(r#"m v="",w=1"#, r#"m [] [v→Text("") w→Float(1.0)] now"#);
    check(r#"m,t="a" "b"=1"#, r#"m [t→"a"] ["b"→Float(1.0)] now"#);
}

#[test]
fn what_is_wrong_is_said_in_influxdbs_words() {
    check("foo", "error: missing fields");
    check(",a=b v=1", "error: missing measurement");
    check("m,=b v=1", "error: missing tag key");
    check("m, v=1", "error: missing tag key");
    check("m,a v=1", "error: missing tag value: the tag `a` has no `=`");
    check("m,a= v=1", "error: missing tag value: that of `a` is empty");
    check("m,a=b=c v=1", "error: invalid tag format…");
    check("m,a=1,a=2 v=1", "error: duplicate tags: `a` is there twice");
    check("m v", "error: missing field value: the field `v` has no `=`");
    check("m =1", "error: missing field key");
    check("m v=", "error: missing field value: that of `v` is empty");
    check("m v=1,", "error: missing field value…");
    check("m v=NaN", "error: invalid number: the field `v` is `NaN`; allowed are finite numbers…");
    for text in ["1e999", "inf", "-1u", "99999999999999999999i", "0x10", "1.5i", "word", "--1", "1_000"] {
        check(&format!("m v={text}"), "error: invalid number…");
    }
    check("m v=\"open", "error: unbalanced quotes…");
    check("m v=\"a\"b", "error: invalid field format…");
    check("m v=1 1.5", "error: bad timestamp: `1.5` is no whole number of 64 bits");
    check("m v=1 9223372036854775808", "error: bad timestamp…");
    check("m v=1 1 2", "error: bad timestamp…");
    let error = parse(b"m v=\"\xff\"", LineLimits::default()).expect_err("no text");
    assert_eq!(error.to_string(), "invalid UTF-8 after byte 5; lines are UTF-8");
}

#[test]
fn limits_are_named() {
    let limits = LineLimits { line_bytes_max: 30, tags_max: 1, fields_max: 2 };
    for (line, part) in [
        ("m,a=1,b=2 v=1", "more than the 1 tags"),
        ("m v=1,w=1,x=1", "more than the 2 fields"),
        ("m v=\"0123456789012345678901234\"", "at most 30"),
    ] {
        match parse(line.as_bytes(), limits) {
            Err(LineError::Limit(text)) => assert!(text.contains(part), "{text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

fn cut(body: &str) -> Vec<(usize, String)> {
    lines(body.as_bytes())
        .map(|line| (line.number, String::from_utf8_lossy(line.bytes).into_owned()))
        .collect()
}

#[test]
fn a_body_is_cut_into_lines() {
    let is = |expected: &[(usize, &str)], body: &str| {
        let expected: Vec<(usize, String)> =
            expected.iter().map(|(number, line)| (*number, (*line).to_owned())).collect();
        assert_eq!(cut(body), expected, "{body:?}");
    };
    is(&[(1, "a v=1"), (2, "b v=2")], "a v=1\nb v=2");
    is(&[(1, "a v=1"), (2, "b v=2")], "a v=1\r\nb v=2\r\n");
    is(&[(2, "a v=1"), (6, "b v=2")], "# note\n  a v=1\n\n \n# \"open\n\tb v=2\n");
    is(&[(1, "a v=\"x\ny\" 1"), (3, "b v=2")], "a v=\"x\ny\" 1\nb v=2");
    is(&[(1, "a v=\"x"), (2, "b v=2")], "a v=\"x\nb v=2");
    is(&[(1, "it\"s v=1"), (2, "b v=2")], "it\"s v=1\nb v=2");
    is(&[(1, "a,t=\"x v=1"), (2, "b,t=\"y v=2")], "a,t=\"x v=1\nb,t=\"y v=2");
    is(&[(1, "a v=1\\"), (2, "b v=2")], "a v=1\\\nb v=2");
    is(&[], "\n\n# only\n");
    is(&[], "");
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é,= ._/%\"-]{1,10}"
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if special.contains(&character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn value() -> impl Strategy<Value = FieldValue<'static>> {
    prop_oneof![
        any::<i64>().prop_map(FieldValue::Integer),
        any::<u64>().prop_map(FieldValue::Unsigned),
        any::<bool>().prop_map(FieldValue::Boolean),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(FieldValue::Float),
        "[a-z \"\\\\\n,=é]{0,12}".prop_map(|text| FieldValue::Text(text.into())),
    ]
}

fn written(value: &FieldValue<'_>) -> String {
    match value {
        FieldValue::Float(number) => format!("{number:?}"),
        FieldValue::Integer(number) => format!("{number}i"),
        FieldValue::Unsigned(number) => format!("{number}u"),
        FieldValue::Boolean(truth) => truth.to_string(),
        FieldValue::Text(text) => format!("\"{}\"", escaped(text, &['"', '\\'])),
    }
}

proptest! {
    /// What a client library writes is read as it was meant, a line after the other.
    #[test]
    fn what_is_written_is_read(
        points in prop::collection::vec((
            "[a-zA-Z0-9é=._/%-]{1,10}",
            prop::collection::btree_map(name(), name(), 0..4),
            prop::collection::vec((name(), value()), 1..4),
            any::<Option<i64>>(),
        ), 1..5),
    ) {
        let mut body = String::new();
        for (measurement, tags, fields, time) in &points {
            body.push_str(measurement);
            for (key, value) in tags {
                let special = [',', '=', ' '];
                body.push_str(&format!(",{}={}", escaped(key, &special), escaped(value, &special)));
            }
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}={}", escaped(key, &[',', '=', ' ']), written(value)))
                .collect();
            body.push_str(&format!(" {}", fields.join(",")));
            if let Some(time) = time {
                body.push_str(&format!(" {time}"));
            }
            body.push('\n');
        }
        let read: Vec<RawLine<'_>> = lines(body.as_bytes()).collect();
        prop_assert_eq!(read.len(), points.len());
        for (line, (measurement, tags, fields, time)) in read.iter().zip(&points) {
            let point = parse(line.bytes, LineLimits::default()).expect("it is well formed");
            prop_assert_eq!(&point.measurement, measurement);
            let expected: Vec<_> = tags.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
            prop_assert_eq!(point.tags, expected);
            let expected: Vec<_> = fields.iter().map(|(k, v)| (k.as_str().into(), v.clone())).collect();
            prop_assert_eq!(point.fields, expected);
            prop_assert_eq!(point.time, *time);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\\\"=, \n#m1i".to_vec())], 0..200)) {
        let mut numbers = Vec::new();
        for line in lines(&body) {
            numbers.push(line.number);
            let _ = parse(line.bytes, LineLimits::default());
        }
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
