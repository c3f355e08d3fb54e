use jiff::ToSpan;

use super::*;

/// The beginnings of the buckets of a range in a zone, and the hours that each lasts.
fn check(name: &str, resolution: &str, from: &str, to: &str, expected: &[(&str, f64)]) {
    let asked = Span::new(moment(from), moment(to));
    let cut = Buckets::new(asked, resolution.parse().expect(resolution), zone(name)).expect("few");
    let got: Vec<(String, f64)> =
        cut.map(|span| (span.start.to_string(), span.micros() as f64 / 3_600e6)).collect();
    let expected: Vec<(String, f64)> =
        expected.iter().map(|(start, hours)| (moment(start).to_string(), *hours)).collect();
    assert_eq!(got, expected, "{resolution} in {name}");
}

#[test]
fn fixed_lengths_begin_at_multiples_since_1970() {
    check(
        "Europe/Berlin",
        "15m",
        "2026-03-29T00:40:00Z",
        "2026-03-29T01:15:00Z",
        &[("2026-03-29T00:30:00Z", 0.25), ("2026-03-29T00:45:00Z", 0.25), ("2026-03-29T01:00:00Z", 0.25)],
    );
    check("UTC", "24h", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z", &[("1969-12-31T00:00:00Z", 24.0)]);
}

#[test]
fn days_last_23_or_25_hours_when_clocks_are_set() {
    check(
        "Europe/Berlin",
        "1d",
        "2026-03-28T23:00:00Z",
        "2026-03-30T00:00:00Z",
        &[("2026-03-28T23:00:00Z", 23.0), ("2026-03-29T22:00:00Z", 24.0)],
    );
    check(
        "Europe/Berlin",
        "1d",
        "2026-10-25T12:00:00+01:00",
        "2026-10-25T13:00:00+01:00",
        &[("2026-10-25T00:00:00+02:00", 25.0)],
    );
    // Midnight does not exist: the day begins at one.
    check(
        "America/Sao_Paulo",
        "1d",
        "2018-11-03T12:00:00-03:00",
        "2018-11-05T12:00:00-02:00",
        &[
            ("2018-11-03T00:00:00-03:00", 24.0),
            ("2018-11-04T01:00:00-02:00", 23.0),
            ("2018-11-05T00:00:00-02:00", 24.0),
        ],
    );
    // At midnight clocks go back to 23:00: that hour comes twice.
    check(
        "America/Sao_Paulo",
        "1d",
        "2018-02-17T23:30:00-03:00",
        "2018-02-18T01:00:00-03:00",
        &[("2018-02-17T00:00:00-02:00", 25.0), ("2018-02-18T00:00:00-03:00", 24.0)],
    );
    // Kazakhstan went from UTC+6 to UTC+5 at the end of a leap day.
    check(
        "Asia/Almaty",
        "1d",
        "2024-02-29T00:00:00+06:00",
        "2024-03-02T00:00:00+05:00",
        &[("2024-02-29T00:00:00+06:00", 25.0), ("2024-03-01T00:00:00+05:00", 24.0)],
    );
}

#[test]
fn odd_days_of_history() {
    // Clocks jumped from 23:30 to 00:30, over midnight.
    check(
        "America/Toronto",
        "1d",
        "1919-03-30T12:00:00-05:00",
        "1919-03-31T12:00:00-04:00",
        &[("1919-03-30T00:00:00-05:00", 23.5), ("1919-03-31T00:30:00-04:00", 23.5)],
    );
    // Samoa had no 30 December 2011.
    check(
        "Pacific/Apia",
        "1d",
        "2011-12-29T12:00:00-10:00",
        "2011-12-31T12:00:00+14:00",
        &[("2011-12-29T00:00:00-10:00", 24.0), ("2011-12-31T00:00:00+14:00", 24.0)],
    );
    // One minute into 29 October clocks went back to 23:01 of the 28th: that day began once, the first time.
    check(
        "America/St_Johns",
        "1d",
        "2006-10-28T23:30:00-03:30",
        "2006-10-29T12:00:00-03:30",
        &[("2006-10-29T00:00:00-02:30", 25.0)],
    );
}

#[test]
fn weeks_begin_on_monday_and_months_and_years_on_their_first() {
    check(
        "Europe/Berlin",
        "1w",
        "2026-03-29T12:00:00Z",
        "2026-03-30T12:00:00Z",
        &[("2026-03-23T00:00:00+01:00", 167.0), ("2026-03-30T00:00:00+02:00", 168.0)],
    );
    check(
        "Europe/Berlin",
        "1mo",
        "2024-02-10T00:00:00Z",
        "2024-03-10T00:00:00Z",
        &[("2024-02-01T00:00:00+01:00", 29.0 * 24.0), ("2024-03-01T00:00:00+01:00", 31.0 * 24.0 - 1.0)],
    );
    check(
        "Asia/Almaty",
        "3mo",
        "2024-02-10T00:00:00Z",
        "2024-02-11T00:00:00Z",
        &[("2024-01-01T00:00:00+06:00", 91.0 * 24.0 + 1.0)],
    );
    check("UTC", "1y", "2024-12-31T00:00:00Z", "2025-01-01T00:00:00Z", &[("2024-01-01T00:00:00Z", 8784.0)]);
    check("UTC", "2w", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z", &[("1969-12-29T00:00:00Z", 336.0)]);
}

#[test]
fn empty_and_too_finely_cut_ranges_are_refused() {
    let new = |asked, resolution: &str, allowed| {
        let resolution = resolution.parse().expect("known");
        Buckets::at_most(allowed, asked, resolution, zone("Asia/Almaty")).map_err(|error| error.to_string())
    };
    let error = new(span(5, 5), "1s", 10).expect_err("empty");
    assert!(error.contains("begins at 1970-01-01T00:00:05.000Z"), "{error}");
    let error = new(span(0, 3600), "1s", 3599).expect_err("too many");
    assert!(error.contains("1s cuts the range into 3600 buckets, and at most 3599"), "{error}");
    assert_eq!(new(span(0, 3600), "1s", 3600).map(Iterator::count), Ok(3600));
    let error = new(span(0, 40 * 86_400), "1d", 40).expect_err("they begin within a day");
    assert!(error.contains("1d cuts the range into 41 buckets"), "{error}");
}

#[test]
fn a_range_can_be_one_bucket() {
    let whole = Buckets::whole(span(7, 99)).expect("one");
    assert!(whole.fit_rollups_of(2_000_000), "no rollup lies in two of one");
    assert_eq!(whole.collect::<Vec<_>>(), [span(7, 99)]);
    assert!(Buckets::whole(span(7, 7)).is_err());
}

#[test]
fn all_of_time_can_be_cut() {
    for resolution in ["1000000h", "400y", "1000000y", "100000w", "1000000d", "1000000mo"] {
        for name in ["UTC", "Asia/Almaty", "Pacific/Apia", "America/Toronto"] {
            let asked = Span::new(Timestamp::MIN, Timestamp::MAX);
            let cut = Buckets::new(asked, resolution.parse().expect("known"), zone(name)).expect("few");
            check_tiles(&cut, asked).expect(resolution);
        }
    }
    let last_hours = Span::new(moment("9999-12-30T00:00:00Z"), Timestamp::MAX);
    for name in ["UTC", "Asia/Almaty", "America/Toronto"] {
        let cut = Buckets::new(last_hours, "1d".parse().expect("known"), zone(name)).expect("few");
        check_tiles(&cut, last_hours).expect(name);
    }
}

#[test]
fn rollups_fit_where_none_lies_in_two_buckets() {
    let hour = 3_600_000_000;
    let fits = |name: &str, resolution: &str, from: &str, to: &str, micros| {
        let asked = Span::new(moment(from), moment(to));
        Buckets::new(asked, resolution.parse().expect("known"), zone(name))
            .expect("few")
            .fit_rollups_of(micros)
    };
    let (from, to) = ("2026-03-01T00:00:00+05:00", "2026-04-01T00:00:00+05:00");
    assert!(fits("Asia/Almaty", "1d", from, to, hour));
    assert!(fits("Asia/Almaty", "2h", from, to, hour));
    assert!(!fits("Asia/Almaty", "30m", from, to, hour));
    assert!(fits("Asia/Almaty", "1h", "2026-03-01T00:00:01Z", to, hour));
    assert!(!fits("Asia/Kolkata", "1d", from, to, hour));
    assert!(fits("Asia/Kolkata", "1d", from, to, hour / 4));
}

/// Buckets follow each other without gaps, cover what was asked for, and are as many as was said.
fn check_tiles(cut: &Buckets, asked: Span) -> Result<(), TestCaseError> {
    let spans: Vec<Span> = cut.clone().collect();
    let (first, last) = (spans.first().expect("one at least"), spans.last().expect("one at least"));
    prop_assert!(first.contains(asked.start));
    prop_assert!(last.start < asked.end && asked.end <= last.end);
    prop_assert!(spans.iter().all(|span| span.start < span.end));
    prop_assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start));
    prop_assert!(spans.len() as u64 <= cut.count_at_most());
    prop_assert!(spans.len() as u64 + 1 >= cut.count_at_most());
    Ok(())
}

proptest! {
    #[test]
    fn days_weeks_months_and_years_agree_with_jiff(
        second in 400_000_000..2_000_000_000_i64,
        name in prop::sample::select(vec!["Europe/Berlin", "America/Sao_Paulo", "Asia/Almaty", "UTC"]),
    ) {
        let time = at(second);
        let zoned = jiff::Timestamp::from_second(second).expect("in range").to_zoned(zone(name));
        let date = zoned.date();
        let monday = date - i32::from(date.weekday().to_monday_zero_offset()).days();
        let cases = [
            ("1d", date, 1.day()),
            ("1w", monday, 1.week()),
            ("1mo", date.first_of_month(), 1.month()),
            ("1y", date.first_of_year(), 1.year()),
        ];
        for (resolution, first, length) in cases {
            let asked = Span::new(time, time.plus_micros(1));
            let cut = Buckets::new(asked, resolution.parse().expect("known"), zone(name)).expect("one");
            let edge = |date: jiff::civil::Date| {
                let midnight = date.to_zoned(zone(name)).expect("in range").start_of_day().expect("in range");
                Timestamp::from_micros(midnight.timestamp().as_microsecond())
            };
            prop_assert_eq!(cut.collect::<Vec<_>>(), [Span::new(edge(first), edge(first + length))]);
        }
    }

    #[test]
    fn buckets_tile_the_range(
        start in -2_000_000_000..3_000_000_000_i64,
        length in 1..100_000_000_i64,
        resolution in prop::sample::select(vec!["997h", "24h", "1d", "3d", "1w", "5w", "1mo", "7mo", "1y", "3y"]),
        name in prop::sample::select(vec![
            "Europe/Berlin", "America/Sao_Paulo", "Asia/Almaty", "America/Toronto", "America/St_Johns",
            "Pacific/Apia", "Australia/Lord_Howe", "UTC",
        ]),
    ) {
        let asked = span(start, start + length);
        let cut = Buckets::new(asked, resolution.parse().expect("known"), zone(name)).expect("few");
        check_tiles(&cut, asked)?;
    }
}
