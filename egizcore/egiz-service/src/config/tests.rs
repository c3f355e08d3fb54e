mod influxdb;
mod lists;

use super::schema::Key;
use super::setting::{Item, Kind};
use super::*;

const NONE: [(&str, &str); 0] = [];

/// Writes a file and loads it with the variables.
fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("openegiz.toml");
    std::fs::write(&path, text).unwrap();
    load(Some(&path), variables.iter().copied())
}

/// The faults as text, with the file's directory cut off.
fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = loaded(text, variables).expect_err("the configuration has faults").errors;
    errors
        .iter()
        .map(|error| {
            let text = error.to_string();
            text.split_once("openegiz.toml:").map_or(text.clone(), |(_, rest)| format!("file:{rest}"))
        })
        .collect()
}

#[test]
fn without_file_and_variables_every_value_is_the_default() {
    let loaded = load(None, NONE).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.notices.is_empty());
    assert_eq!(loaded.origin("http.listen"), Some(&Origin::Default));
    assert_eq!(loaded.origin("http.nothing"), None);
}

/// A value of a key that differs from the default and one that differs from the first, as text for a variable.
fn other_values(key: &Key) -> [String; 2] {
    let default = (key.show)(&Config::default()).replace('_', "");
    let candidates: Vec<String> = match key.kind {
        Kind::Boolean => vec!["true".into(), "false".into()],
        Kind::Integer { min, max, .. } => [min, max, min + 1, max - 1].iter().map(u64::to_string).collect(),
        Kind::OneOf(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Kind::Name => vec!["hall-1".into(), "hall-2".into()],
        Kind::Address { .. } => vec!["127.0.0.1:5001".into(), "[::1]:5002".into()],
        Kind::Path { .. } => vec![file!().into(), "Cargo.toml".into()],
        Kind::List(Item::Origin { .. }) => {
            vec!["https://a.example,https://b.example".into(), "http://c.example:3000".into()]
        }
        Kind::List(_) => vec!["a.example,b.example".into(), "c.example".into()],
        Kind::LogLevel => vec!["warn".into(), "info,egiz_broker=debug".into()],
        Kind::TimeZone => vec!["Europe/Berlin".into(), "Asia/Tokyo".into()],
        Kind::OptionalTimeOfDay => vec!["01:00".into(), "23:59".into()],
        Kind::Text | Kind::OptionalText => vec!["one".into(), "another".into()],
    };
    let others: Vec<_> =
        candidates.into_iter().filter(|value| default.trim_matches('"') != value.as_str()).collect();
    let second = if others.len() > 1 {
        others[others.len() - 1].clone()
    } else {
        default.trim_matches('"').to_owned()
    };
    [others[0].clone(), second]
}

/// A text value as TOML of the key's kind.
fn as_toml(key: &Key, value: &str) -> String {
    match key.kind {
        Kind::Boolean | Kind::Integer { .. } => value.to_owned(),
        Kind::List(_) => format!("{:?}", value.split(',').collect::<Vec<_>>()),
        _ => format!("{value:?}"),
    }
}

#[test]
fn for_every_key_the_file_wins_over_the_default_and_the_variable_over_the_file() {
    for key in KEYS {
        let [in_file, in_variable] = other_values(key);
        // Keys that only work together with another one, and a token that is long enough.
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "0123456789abcdef\n").unwrap();
        let secret_path = secret.path().display().to_string();
        let (in_file, in_variable) = match key.path {
            "http.api_token_file" => (secret_path.clone(), secret_path),
            "http.max_body_bytes" => ("1024".to_owned(), "2048".to_owned()),
            "journal.max_total_bytes" => ("9000000000".to_owned(), "8000000000".to_owned()),
            "journal.segment_bytes" => ("2000000".to_owned(), "1048576".to_owned()),
            "journal.queue_bytes" => ("2000000".to_owned(), "1048576".to_owned()),
            _ => (in_file, in_variable),
        };
        let file = format!("[{}]\n{} = {}\n", key.section, key.name, as_toml(key, &in_file));
        let from_file = loaded(&file, &[]).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert_ne!((key.show)(&from_file.config), (key.show)(&Config::default()), "{}", key.path);
        assert!(matches!(from_file.origin(key.path), Some(Origin::File { line: 2, .. })), "{}", key.path);

        let variable = key.variable();
        let both = loaded(&file, &[(&variable, &in_variable)])
            .unwrap_or_else(|error| panic!("{}: {error}", key.path));
        if key.path != "http.api_token_file" {
            assert_ne!((key.show)(&both.config), (key.show)(&from_file.config), "{}", key.path);
        }
        assert_eq!(both.origin(key.path), Some(&Origin::Variable { name: variable.clone() }));
        let only_variable = load(None, [(&variable, &in_variable)]).unwrap();
        assert_eq!((key.show)(&only_variable.config), (key.show)(&both.config), "{}", key.path);
        // What a key shows is what it reads.
        let shown = format!("[{}]\n{} = {}\n", key.section, key.name, (key.show)(&both.config));
        assert_eq!(
            (key.show)(&loaded(&shown, &[]).unwrap().config),
            (key.show)(&both.config),
            "{}",
            key.path
        );
    }
}

#[test]
fn every_default_lies_in_its_own_range() {
    for key in KEYS {
        let file = format!("[{}]\n{} = {}\n", key.section, key.name, (key.show)(&Config::default()));
        assert_eq!(loaded(&file, &[]).expect(key.path).config, Config::default(), "{}", key.path);
        if let Kind::Integer { min, max, .. } = key.kind {
            for outside in [max + 1, min.wrapping_sub(1)] {
                if !(min..=max).contains(&outside) {
                    let text =
                        format!("[{}]\n{} = {}\n", key.section, key.name, outside.min(i64::MAX as u64));
                    assert!(loaded(&text, &[]).is_err(), "{} = {outside}", key.path);
                }
            }
        }
    }
}

#[test]
fn the_example_file_is_all_keys_with_their_defaults() {
    let example = example_toml();
    let loaded = loaded(&example, &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    for key in KEYS {
        assert!(matches!(loaded.origin(key.path), Some(Origin::File { .. })), "{} is missing", key.path);
    }
    assert!(example.lines().all(|line| line.chars().count() <= 110));
}

#[test]
fn the_committed_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in [
        ("configs/openegiz.example.toml", example_toml()),
        ("configs/env.example", env_example()),
        ("docs/configuration.md", markdown()),
    ] {
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(committed == text, "{path} is old: cargo run -p egiz-service --example write_config_docs");
    }
}

#[test]
fn every_variable_of_the_example_is_known_and_sets_the_default() {
    let text = env_example();
    let variables: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# EGIZ__"))
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (format!("EGIZ__{name}"), value.to_owned()))
        .collect();
    assert_eq!(variables.len(), KEYS.len());
    assert_eq!(load(None, variables).unwrap().config, Config::default());
}

#[test]
fn each_fault_names_key_value_allowed_and_origin_and_all_come_at_once() {
    let text = "\
[http]
listen = \"localhost\"
max_body_bytes = 12
listne = 1

[mqtt]
allow_anonymous = \"sometimes\"
max_packet_bytes = \"many\"

[jurnal]
durability = \"fsync\"
";
    let variables =
        [("EGIZ__LOG__LEVEL", "loud"), ("EGIZ__HTTP__LISTENN", "x"), ("EGIZ__TWIN__MAX_THINGS", "-1")];
    let address =
        "an IP address and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"; port 0 takes a free one";
    assert_eq!(faults(text, &variables), [
        format!("file:2: http.listen = \"localhost\" is not allowed; allowed: {address}"),
        "file:3: http.max_body_bytes = 12 is not allowed; allowed: 1024 to 67108864 bytes".to_owned(),
        "file:4: http.listne is unknown; allowed: did you mean http.listen?".to_owned(),
        "file:7: mqtt.allow_anonymous = \"sometimes\" is not allowed; allowed: \"never\", \"loopback\", \"always\""
            .to_owned(),
        "file:8: mqtt.max_packet_bytes = \"many\" is not allowed; allowed: 1024 to 16777216 bytes".to_owned(),
        "file:10: jurnal is unknown; allowed: did you mean journal?".to_owned(),
        "EGIZ__LOG__LEVEL: log.level = \"loud\" is not allowed; allowed: off, error, warn, info, debug, trace, or a \
         list such as \"info,egiz_broker=debug\""
            .to_owned(),
        "EGIZ__HTTP__LISTENN: EGIZ__HTTP__LISTENN is unknown; allowed: did you mean EGIZ__HTTP__LISTEN?".to_owned(),
        "EGIZ__TWIN__MAX_THINGS: twin.max_things = \"-1\" is not allowed; allowed: 1 to 100000000".to_owned(),
    ]);
}

#[test]
fn the_items_of_a_list_are_checked_too() {
    let allowed = "allowed: up to 64 origins as browsers send them, such as \"https://example.org\" or \
        \"http://10.0.0.5:3000\", without a path";
    let tail = "; in a variable separated by commas";
    assert_eq!(
        faults("[http]\nallowed_origins = [\"nonsense\"]\n", &[("EGIZ__HTTP__ALLOWED_HOSTS", "https://x")]),
        [
            format!("file:2: http.allowed_origins = [\"nonsense\"] is not allowed; {allowed}{tail}"),
            format!(
                "EGIZ__HTTP__ALLOWED_HOSTS: http.allowed_hosts = \"https://x\" is not allowed; allowed: up to 64 names of \
                 hosts, such as \"egiz.example.org\", without a port{tail}"
            ),
        ]
    );
    let listener = "[[mqtt.listeners]]\naddress = \"127.0.0.1:9001\"\ntransport = \"websocket\"\n";
    assert_eq!(
        faults(&format!("{listener}allowed_origins = [\"*\", \"scada.example\"]\n"), &[]),
        [format!(
            "file:4: mqtt.listeners[0].allowed_origins = [\"*\", \"scada.example\"] is not allowed; {allowed}; \"*\" = all{tail}"
        )]
    );
    let check = |key: &str, item: &str| loaded(&format!("[http]\n{key} = [{item:?}]\n"), &[]).is_ok();
    for origin in [
        "https://example.org",
        "HTTP://Example.org",
        "http://localhost:3000",
        "http://[::1]:3000",
        "https://10.0.0.5",
        "tauri://localhost",
        "http://plant_1.local:81",
    ] {
        assert!(check("allowed_origins", origin), "{origin}");
    }
    for nonsense in [
        "",
        "*",
        "null",
        "example.org",
        "https://",
        "https://example.org/",
        "https://example.org/app",
        "https://example.org:443",
        "http://example.org:80",
        "http://example.org:port",
        "http://example.org:0",
        "http://a b",
        "https://*.example.org",
        "http://[::1",
        "://example.org",
    ] {
        assert!(!check("allowed_origins", nonsense), "{nonsense}");
    }
    assert!(check("allowed_hosts", "egiz.example.org") && check("allowed_hosts", "EGIZ-1"));
    assert!(!check("allowed_hosts", "egiz.example.org:8080") && !check("allowed_hosts", "egiz..org"));
    assert!(check("strict_sites", "factory") && check("strict_sites", "*"));
    assert!(!check("strict_sites", "factory:oven-001") && !check("strict_sites", ""));
}

#[test]
fn a_file_that_is_not_toml_or_not_there_is_named_with_the_line() {
    let errors = faults("[http]\nlisten = \n[mqtt\n", &[]);
    assert!(errors[0].starts_with("file:2: the file is not TOML here: "), "{errors:?}");
    assert!(errors.len() >= 2, "every fault of the file: {errors:?}");
    let errors = faults("http = 3\n", &[]);
    assert_eq!(errors, ["file:1: http = 3 is not a section; allowed: a table of keys, [http]"]);
    let missing = load(Some(Path::new("none/openegiz.toml")), NONE).unwrap_err().to_string();
    assert!(missing.contains("none/openegiz.toml:1: the file cannot be read: No such file"), "{missing}");
    assert!(missing.starts_with("the configuration has 1 fault\n"), "{missing}");
}

#[test]
fn an_open_address_is_pointed_out_where_it_matters() {
    let notices = |text: &str, variables: &[(&str, &str)]| -> Vec<String> {
        loaded(text, variables).expect("usable").notices.iter().map(ToString::to_string).collect()
    };
    let open = "[http]\nlisten = \"0.0.0.0:8080\"\n";
    let check = |text: &str, variables: &[(&str, &str)], wanted: &str| {
        let notices = notices(text, variables);
        assert!(notices.len() == 1 && notices[0].contains(wanted), "{notices:?}");
    };
    check(open, &[], "http.listen lets other machines in, and each request from there needs a token");
    check(open, &[("EGIZ__HTTP__ALLOW_ANONYMOUS", "always")], "lets anybody there change everything");
    check(open, &[("EGIZ__HTTP__ALLOW_ANONYMOUS", "never")], "without one nobody gets in");
    check("[http]\nvision_listen = \"[::]:8081\"\n", &[], "http.vision_listen lets other machines in");
    for quiet in [
        "[http]\nlisten = \"[::ffff:127.0.0.1]:8080\"\n",
        "[http]\nvision_listen = \"\"\n",
        "[mqtt]\nlisten = \"0.0.0.0:1883\"\n",
    ] {
        assert!(notices(quiet, &[]).is_empty(), "{quiet}");
    }
}

#[test]
fn a_token_file_ends_anonymous_access_unless_something_else_is_said() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "0123456789abcdef\n").unwrap();
    let path = secret.path().to_str().unwrap();
    let rule = |more: &[(&str, &str)]| {
        let variables = [&[("EGIZ__HTTP__API_TOKEN_FILE", path)], more].concat();
        load(None, variables).unwrap().config.http.allow_anonymous
    };
    assert_eq!(rule(&[]), Anonymous::Never);
    assert_eq!(rule(&[("EGIZ__HTTP__ALLOW_ANONYMOUS", "loopback")]), Anonymous::Loopback);
    assert_eq!(load(None, NONE).unwrap().config.http.allow_anonymous, Anonymous::Loopback);
}

#[test]
fn the_token_is_read_from_its_file_and_stays_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let variables = [("EGIZ__HTTP__API_TOKEN_FILE", path.to_str().unwrap())];
    let problem = || load(None, variables).unwrap_err().errors[0].problem.clone();
    assert!(problem().starts_with("cannot be read"));
    std::fs::write(&path, "short\n").unwrap();
    assert_eq!(problem(), "holds 5 characters");
    std::fs::write(&path, "sixteen or more but spaces").unwrap();
    assert_eq!(problem(), "holds characters that cannot be part of a token");
    std::fs::write(&path, "  a-token-of-some-length\n").unwrap();
    let loaded = load(None, variables).unwrap();
    assert_eq!(loaded.config.api_token.as_ref().unwrap().expose(), "a-token-of-some-length");
    assert!(!format!("{loaded:?}{}", loaded.check_report()).contains("a-token-of"));
}

#[test]
fn faults_between_keys_name_both() {
    let errors = faults("[http]\nlisten = \"127.0.0.1:1883\"\n", &[]);
    assert_eq!(
        errors,
        [
            "default: mqtt.listen = \"127.0.0.1:1883\" is the address of http.listen, too; allowed: an address of its own",
        ]
    );
    let errors = faults("[journal]\nmax_total_bytes = 100_000_000\n", &[]);
    assert_eq!(
        errors,
        [
            "file:2: journal.max_total_bytes = 100_000_000 is less than two segments of journal.segment_bytes = 67108864; \
         allowed: at least twice journal.segment_bytes",
        ]
    );
    assert!(
        loaded(
            "[http]\nlisten=\"127.0.0.1:0\"\nvision_listen=\"127.0.0.1:0\"\n[mqtt]\nlisten=\"127.0.0.1:0\"\n",
            &[]
        )
        .is_ok()
    );
}

#[test]
fn a_server_that_is_not_used_is_accepted_with_a_warning() {
    let variables = [("INFLUXDB_URL", "http://u:p@influxdb"), ("PATH", "/bin")];
    let loaded = load(None, variables).unwrap();
    assert_eq!(loaded.config, Config::default());
    let names: Vec<_> = loaded.notices.iter().map(|notice| notice.name.as_str()).collect();
    assert_eq!(names, ["INFLUXDB_URL"]);
    assert!(
        loaded.check_report().contains("# warning: INFLUXDB_URL is set, but this version does not write")
    );
    assert!(!loaded.check_report().contains("u:p"), "an address may hold a password");
}

#[test]
fn the_report_is_toml_with_the_origin_of_each_value() {
    let loaded = loaded("[log]\nlevel = \"debug\"\n", &[("EGIZ__SITE__NAME", "hall-1")]).unwrap();
    let report = loaded.check_report();
    let origin = |value: &str| {
        let line = report.lines().find(|line| line.starts_with(value)).expect(value);
        line.rsplit_once("# ").map(|(_, origin)| origin.rsplit('/').next().unwrap_or_default().to_owned())
    };
    assert_eq!(origin("name = \"hall-1\" ").as_deref(), Some("EGIZ__SITE__NAME"));
    assert_eq!(origin("level = \"debug\" ").as_deref(), Some("openegiz.toml:2"));
    assert_eq!(origin("listen = \"127.0.0.1:8080\" ").as_deref(), Some("default"));
    assert_eq!(self::loaded(&report, &[]).unwrap().config, loaded.config);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in "(\\[[a-z]{0,8}\\]|[a-z_.]{0,12} ?= ?[-0-9a-z\"\\[\\]{}_.:]{0,12}|\n| ){0,12}") {
        let _ = loaded(&text, &[]);
    }
}
