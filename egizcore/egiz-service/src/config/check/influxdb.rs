//! Checks between the keys of the section `influxdb`; where it has no address, none of the others matters.

use super::super::schema::Config;
use super::super::setting::InfluxApi;

/// Collects the faults.
pub(super) fn between_keys(config: &Config, fault: &mut impl FnMut(&str, String, &str)) {
    let influxdb = &config.influxdb;
    if influxdb.url.is_none() {
        return;
    }
    match influxdb.api {
        InfluxApi::One => {
            for (key, value) in [("influxdb.org", &influxdb.org), ("influxdb.bucket", &influxdb.bucket)] {
                if value.is_some() {
                    fault(key, "goes together with influxdb.api = \"v2\"".to_owned(), "\"\"");
                }
            }
        }
        InfluxApi::Two => {
            if influxdb.bucket.is_none() {
                fault("influxdb.bucket", "is missing".to_owned(), "the name of a bucket");
            }
            if influxdb.retention_policy.is_some() {
                let problem = "goes together with influxdb.api = \"v1\"".to_owned();
                fault("influxdb.retention_policy", problem, "\"\"");
            }
        }
    }
    if influxdb.token_file.is_some() && influxdb.username.is_some() {
        let problem = "goes together with no influxdb.token_file".to_owned();
        fault("influxdb.username", problem, "\"\", or influxdb.token_file = \"\"");
    }
    if influxdb.password_file.is_some() && influxdb.username.is_none() {
        fault("influxdb.username", "is missing".to_owned(), "the user whose password it is");
    }
    let segment_bytes = config.journal.segment_bytes;
    if (1..segment_bytes).contains(&influxdb.max_behind_bytes) {
        let problem = format!("is less than a segment of journal.segment_bytes = {segment_bytes}");
        fault("influxdb.max_behind_bytes", problem, "0, or at least journal.segment_bytes");
    }
    let most = config.journal.max_total_bytes / 4 * 3;
    if influxdb.max_behind_bytes > most {
        let problem = format!("is more than three quarters of journal.max_total_bytes, {most}");
        fault("influxdb.max_behind_bytes", problem, "at most three quarters of journal.max_total_bytes");
    }
}
