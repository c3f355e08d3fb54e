use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000_000;

fn selected(text: &str) -> Select {
    match parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}")).pop() {
        Some(Statement::Select(select)) => *select,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str, part: &str) {
    let error = parse(text, NOW).expect_err(text).to_string();
    assert!(error.starts_with("error parsing query: ") && error.contains(part), "{text}\n{error}");
}

/// What Grafana sends for a panel.
#[test]
fn a_panels_query_is_read() {
    let select = selected(
        "SELECT mean(\"usage_idle\") AS \"idle\", max(\"usage_user\") * 2 FROM \"autogen\".\"cpu\" WHERE \
         (\"host\"::tag =~ /^(a|b\\/c)$/ OR \"host\"::tag = 'it''s') AND time >= 1700000000000ms and time <= 1700003600000ms \
         GROUP BY time(10s, 2s), \"host\"::tag, /^c/ fill(previous) ORDER BY time DESC LIMIT 5 OFFSET 1 SLIMIT 3 SOFFSET 2"
            .replace("it''s", "it\\'s")
            .as_str(),
    );
    assert_eq!(select.columns.len(), 2);
    assert_eq!(select.columns[0].alias.as_deref(), Some("idle"));
    assert!(
        matches!(select.columns[0].leaves[0], Leaf::Aggregate(Aggregate::Mean, Fields::Name(ref name)) if name == "usage_idle")
    );
    assert!(matches!(select.columns[1].expression, Expression::Of('*', ..)));
    assert!(select.from[0].fits("cpu") && !select.from[0].fits("autogen"));
    assert_eq!(select.bounds, Bounds { from: Some(NOW), to: Some(NOW + 3_600_000_001) });
    assert_eq!(select.every, Some(Every { length: 10_000_000, offset: 2_000_000 }));
    assert!(select.by.tags[0].fits("host") && select.by.tags[1].fits("cpu"));
    assert_eq!((select.fill, select.is_descending), (Fill::Previous, true));
    assert_eq!((select.limit, select.offset), (Some(5), 1));
    assert_eq!((select.series_limit, select.series_offset), (Some(3), 2));
    let holds = |host: &str| select.filter.holds(&|_, test| test.passes(host));
    assert_eq!(["a", "b/c", "it's", "c"].map(holds), [true, true, true, false]);
}

#[test]
fn times_are_read_in_every_form() {
    let from = |text: &str| selected(&format!("SELECT v FROM m WHERE time >= {text}")).bounds.from;
    let second = NOW / 1_000_000;
    assert_eq!(from("1700000000000000000"), Some(NOW));
    assert_eq!(from(&format!("{second}s")), Some(NOW));
    assert_eq!(from("'2023-11-14T22:13:20Z'"), Some(NOW));
    assert_eq!(from("'2023-11-14 22:13:20'"), Some(NOW));
    assert_eq!(from("'2023-11-14'"), Some(NOW - 80_000_000_000));
    assert_eq!(from("now() - 1h30m"), Some(NOW - 5_400_000_000));
    assert_eq!(from("now() - 1d + 1h"), Some(NOW - 82_800_000_000));
    assert_eq!(from("1700000000000000001"), Some(NOW + 1));
    let bounds = |condition: &str| selected(&format!("SELECT v FROM m WHERE {condition}")).bounds;
    assert_eq!(bounds("time > 5u AND time < 9u"), Bounds { from: Some(6), to: Some(9) });
    assert_eq!(bounds("time <= 9u AND (time >= 3u)"), Bounds { from: Some(3), to: Some(10) });
    assert_eq!(bounds("time = 7u"), Bounds { from: Some(7), to: Some(8) });
}

#[test]
fn every_form_of_show_is_read() {
    let statements = parse(
        "SHOW DATABASES; SHOW RETENTION POLICIES on \"openegiz\"; SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)cpu/ LIMIT 100; \
         SHOW MEASUREMENTS ON x WHERE \"host\" = 'a'; SHOW TAG KEYS FROM \"cpu\" WHERE time > now() - 1h; SHOW TAG VALUES FROM \"cpu\" \
         WITH KEY = \"host\" WHERE host != '' LIMIT 1 OFFSET 2; SHOW TAG VALUES WITH KEY IN (\"a\", b); SHOW TAG VALUES WITH KEY !~ /x/; \
         SHOW FIELD KEYS FROM \"rp\".\"cpu\"; show series from cpu; CREATE DATABASE \"telegraf\" WITH DURATION 30d NAME \"x\";",
        NOW,
    )
    .expect("they are supported");
    assert_eq!(statements.len(), 11);
    assert!(
        matches!(&statements[2], Statement::ShowMeasurements(show) if show.from[0].fits("CPU") && show.limit == Some(100))
    );
    assert!(
        matches!(&statements[5], Statement::ShowTagValues(show, keys) if keys.fit("host") && !keys.fit("cpu") && show.offset == 2)
    );
    assert!(matches!(&statements[6], Statement::ShowTagValues(_, keys) if keys.fit("b")));
    assert!(matches!(&statements[7], Statement::ShowTagValues(_, keys) if !keys.fit("ax") && keys.fit("a")));
    assert!(parse(" ;; ", NOW).expect("nothing").is_empty());
}

#[test]
fn functions_are_read() {
    for (text, name) in [
        ("derivative(mean(v), 10s)", "derivative"),
        ("non_negative_derivative(v)", "non_negative_derivative"),
        ("difference(last(v))", "difference"),
        ("PERCENTILE(v, 99.9)", "percentile"),
        ("count(*)", "count"),
        ("moving_average(mean(\"v\"), 3)", "moving_average"),
    ] {
        let select = selected(&format!("SELECT {text} FROM m"));
        assert_eq!(select.columns[0].leaves[0].name(), name);
    }
    let select = selected("SELECT (a + b) / 2 - -1, /^x/, *, \"weird \\\" name\" FROM /^m/, n -- end");
    assert_eq!(select.columns.len(), 4);
    assert!(select.from[0].fits("mm") && select.from[1].fits("n"));
    assert!(
        matches!(&select.columns[3].leaves[0], Leaf::Field(Fields::Name(name)) if name == "weird \" name")
    );
}

#[test]
fn what_is_not_supported_is_named() {
    refused("SELECT mean(v) FROM (SELECT v FROM m)", "not supported: subqueries at line 1, char 22");
    refused("SELECT v INTO x FROM m", "not supported: INTO");
    refused("DROP MEASUREMENT m", "not supported: DROP; what is kept goes by history.retention_days");
    refused("SELECT v FROM m WHERE v > 5", "the condition on the field \"v\"");
    refused("SELECT v FROM m WHERE v = 5", "a text in single quotes");
    refused("SELECT v FROM m WHERE time > 5 OR a = 'b'", "time under OR");
    refused("SELECT top(v, 3) FROM m", "the function top(); allowed are mean, median");
    refused("SELECT mean(mean(v)) FROM m", "a function inside this one");
    refused("SELECT mean(v), w FROM m", "mixing aggregate and non-aggregate");
    refused("SELECT v FROM m GROUP BY time(1m)", "requires at least one aggregate");
    refused("SELECT mean(v) FROM m tz('Europe/Berlin')", "time zones but 'UTC'");
    refused("SELECT percentile(v, 101) FROM m", "a number from 0 to 100");
    refused("SELECT mean(v) FROM m GROUP BY time(1m) fill(zero)", "null, none, previous, linear or a number");
    refused("SELECT v", "found EOF, expected FROM at line 1, char 9");
    refused("SELECT v FROM m\nWHERE (a = 'b'", "expected ) at line 2, char 15");
    refused("FOO", "found FOO, expected SELECT, SHOW or CREATE DATABASE");
    refused("SELECT v FROM m WHERE a =~ /(/", "cannot be used");
    refused("SELECT v FROM m WHERE a =~ /a{1000}{1000}/", "cannot be used");
    refused(&format!("SELECT v FROM m WHERE a =~ /{}/", "a".repeat(2_000)), "at most 1024");
    refused(&format!("SELECT v FROM m WHERE {}a = 'b'", "(".repeat(40)), "deeper than 32");
    refused(&format!("SELECT {}v FROM m", "- ".repeat(40)), "deeper than 32");
    refused(&format!("SELECT v{} FROM m", "+1".repeat(300)), "more than 256 operations");
    refused(&format!("SELECT v FROM m WHERE a='b'{}", " OR a='b'".repeat(600)), "more than 512 conditions");
    refused(&"SHOW DATABASES;".repeat(65), "more than 64 statements");
    refused(&" ".repeat(70_000), "at most 65536");
    refused("SELECT v FROM m WHERE time > 1 - 9223372036854775807 - 9223372036854775807", "1678 to 2262");
}

#[test]
fn buckets_begin_at_the_turn_of_their_length() {
    let every = Every { length: 10, offset: 3 };
    assert_eq!([3, 12, 13, 2, -8].map(|time| every.start_of(time)), [3, 3, 13, -7, -17]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,60}|(SELECT|SHOW|FROM|WHERE|time|a|'b'|\"c\"|/d/|1|5m|[()=~!<>*+,;:. -]|GROUP BY|fill| ){0,40}") {
        let _ = parse(&text, NOW);
    }
}
