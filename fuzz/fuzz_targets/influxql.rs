//! Attacks InfluxQL as anybody who may read can send it: whatever stands in a query, reading it neither panics nor takes long; it
//! is statements within their bounds, or an error in a few words. Filters and patterns of what was read are used.
#![no_main]

use egiz_influx::influxql::{self, COLUMNS_MAX, QUERY_BYTES_MAX, STATEMENTS_MAX, Select, Show, Statement};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_700_000_000_000_000;

fuzz_target!(|text: &str| {
    let statements = match influxql::parse(text, NOW) {
        Ok(statements) => statements,
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("error parsing query: ") && error.len() < 4_000, "{error}");
            return;
        }
    };
    assert!(statements.len() <= STATEMENTS_MAX && text.len() <= QUERY_BYTES_MAX);
    for statement in &statements {
        match statement {
            Statement::Select(select) => check_select(select),
            Statement::ShowMeasurements(show)
            | Statement::ShowTagKeys(show)
            | Statement::ShowFieldKeys(show)
            | Statement::ShowSeries(show)
            | Statement::ShowTagValues(show, _) => check_show(show),
            Statement::ShowDatabases | Statement::ShowRetentionPolicies | Statement::CreateDatabase => {}
        }
    }
});

fn check_select(select: &Select) {
    assert!((1..=COLUMNS_MAX).contains(&select.columns.len()));
    assert!(!select.from.is_empty());
    let aggregates =
        select.columns.iter().flat_map(|column| &column.leaves).filter(|leaf| leaf.is_aggregate());
    assert_eq!(select.is_aggregate(), aggregates.count() > 0);
    assert!(select.every.is_none_or(|every| {
        let start = every.start_of(NOW);
        every.length > 0 && start <= NOW && NOW - start < every.length
    }));
    select.filter.holds(&|_, test| test.passes("oven-001"));
    select.from.iter().for_each(|from| {
        let _ = from.fits("thermal");
    });
}

fn check_show(show: &Show) {
    show.filter.holds(&|_, test| test.passes(""));
}
