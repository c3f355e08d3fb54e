//! Wrong configuration is refused with key, value and what is allowed.

use std::sync::Arc;

use egiz_simulator::{FaultKind, Simulator, SimulatorConfig};

fn refusal(toml: &str) -> String {
    let config: SimulatorConfig = match toml::from_str(toml) {
        Ok(config) => config,
        Err(error) => return error.to_string(),
    };
    let error = Simulator::new(config, Arc::new(|| 0)).err().unwrap_or_else(|| panic!("{toml} is accepted"));
    // The whole chain, as the program prints it.
    format!("{:#}", anyhow::Error::new(error))
}

#[test]
fn the_error_names_key_value_and_what_is_allowed() {
    for (toml, expected) in [
        ("devices = 0", "devices is 0; allowed is 1 to 20000"),
        ("interval_ms = 5", "interval_ms is 5; allowed is 10 to 3600000"),
        ("speed = 0.0", "speed is 0.0; allowed is a number above 0, to 3600"),
        ("speed = nan", "speed is NaN; allowed is a number above 0, to 3600"),
        ("site = \"a/b\"", "site is \"a/b\"; allowed is 1 to 64 of a-z"),
        ("broker_host = \"a b\"", "broker_host is \"a b\"; allowed is a host name or an IP address"),
        (
            "start_time_of_day = \"25:00\"",
            "\"25:00\" is not a time of day; allowed is HH:MM from 00:00 to 23:59",
        ),
        ("production_to = \"6:00\"", "is not a time of day"),
        ("protocol = \"4\"", "unknown variant `4`, expected `3.1.1` or `5`"),
        ("interval = 5", "unknown field `interval`"),
        ("faults_per_machine_per_day = -1.0", "faults_per_machine_per_day is -1.0; allowed is 0 to 1000"),
        (
            "fault_develop_max_s = 1.0",
            "fault_develop_max_s is 1.0; allowed is fault_develop_min_s to 31536000",
        ),
        (
            "[[fault]]\nmachine = \"oven-003\"\nkind = \"bearing_wear\"\nat_s = 1.0\ndevelop_s = 1.0",
            "no device \"oven-003\" in this plant of 18 machines",
        ),
        (
            "[[fault]]\nmachine = \"oven-001\"\nkind = \"rust\"\nat_s = 1.0\ndevelop_s = 1.0",
            "unknown variant `rust`",
        ),
        ("credentials_path = \"/nonexistent/a.csv\"", "can't read credentials from /nonexistent/a.csv"),
        ("truth_path = \"/nonexistent/truth.jsonl\"", "can't open /nonexistent/truth.jsonl"),
    ] {
        let message = refusal(toml);
        assert!(message.contains(expected), "{toml}: {message}");
    }
}

#[test]
fn credentials_must_name_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("devices.csv");
    std::fs::write(&path, "device,username,password\nsilo-001,silo-001,secret\n").unwrap();
    let message = refusal(&format!("credentials_path = {:?}", path.display().to_string()));
    assert!(message.contains("no credentials for 17 devices, the first is \"mixer-001\""), "{message}");
    assert!(!message.contains("secret"));
}

#[test]
fn defaults_survive_toml_and_an_empty_file_is_the_default() {
    let text = toml::to_string(&SimulatorConfig::default()).unwrap();
    assert_eq!(toml::from_str::<SimulatorConfig>(&text).unwrap(), SimulatorConfig::default());
    assert_eq!(toml::from_str::<SimulatorConfig>("").unwrap(), SimulatorConfig::default());
}

#[test]
fn planned_faults_are_read() {
    let config: SimulatorConfig = toml::from_str(
        "[[fault]]\nmachine = \"oven-001\"\nkind = \"heater_element_loss\"\nat_s = 60.0\ndevelop_s = 600.0\nelement = 2",
    )
    .unwrap();
    assert_eq!(config.faults[0].kind, FaultKind::HeaterElementLoss);
    assert_eq!(config.faults[0].element, Some(2));
    assert!(Simulator::new(config, Arc::new(|| 0)).is_ok());
}
