//! The section `influxdb`: keys that go together.

use super::*;

fn faults_of(keys: &str) -> Vec<String> {
    faults(&format!("[influxdb]\n{keys}"), &[])
}

#[test]
fn each_version_has_its_own_keys() {
    assert!(loaded("[influxdb]\nbucket = \"b\"\nmax_behind_bytes = 9000000000\n", &[]).is_ok(), "not in use");
    let url = "url = \"http://db:8086\"";
    assert!(loaded(&format!("[influxdb]\n{url}\ndatabase = \"d\"\n"), &[]).is_ok());
    assert!(loaded(&format!("[influxdb]\n{url}\napi = \"v2\"\nbucket = \"b\"\n"), &[]).is_ok());
    assert_eq!(
        faults_of(&format!("{url}\nbucket = \"b\"\n")),
        ["file:3: influxdb.bucket = \"b\" goes together with influxdb.api = \"v2\"; allowed: \"\""]
    );
    assert_eq!(
        faults_of(&format!("{url}\napi = \"v2\"\nretention_policy = \"p\"\n")),
        [
            "default: influxdb.bucket = \"\" is missing; allowed: the name of a bucket",
            "file:4: influxdb.retention_policy = \"p\" goes together with influxdb.api = \"v1\"; allowed: \"\"",
        ]
    );
    assert_eq!(
        faults_of(&format!("{url}\napi = \"v3\"\n")),
        ["file:3: influxdb.api = \"v3\" is not allowed; allowed: \"v1\", \"v2\""]
    );
}

#[test]
fn who_writes_is_said_in_one_way() {
    let url = "url = \"http://db:8086\"";
    assert_eq!(
        faults_of(&format!("{url}\ntoken_file = \"t\"\nusername = \"u\"\n")),
        [
            "file:4: influxdb.username = \"u\" goes together with no influxdb.token_file; allowed: \"\", or influxdb.token_file = \"\""
        ]
    );
    assert_eq!(
        faults_of(&format!("{url}\npassword_file = \"p\"\n")),
        ["default: influxdb.username = \"\" is missing; allowed: the user whose password it is"]
    );
}

#[test]
fn no_more_of_the_journal_is_kept_than_leaves_room_and_no_less_than_a_segment() {
    assert_eq!(
        faults_of("url = \"http://db:8086\"\nmax_behind_bytes = 1000000\n"),
        [
            "file:3: influxdb.max_behind_bytes = 1_000_000 is less than a segment of journal.segment_bytes = 67108864; allowed: 0, or at least journal.segment_bytes"
        ]
    );
    assert_eq!(
        faults_of("url = \"http://db:8086\"\nmax_behind_bytes = 2000000000\n"),
        [
            "file:3: influxdb.max_behind_bytes = 2_000_000_000 is more than three quarters of journal.max_total_bytes, 1610612736; allowed: at most three quarters of journal.max_total_bytes"
        ]
    );
}
