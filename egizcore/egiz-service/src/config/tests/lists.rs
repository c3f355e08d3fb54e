//! Tables that may be given several times.

use super::*;

const GOOD: &str = "\
[mqtt]
listen = \"\"

[[mqtt.listeners]]
address = \"0.0.0.0:8883\"
certificate_file = \"server.pem\"
key_file = \"server.key\"
client_ca_file = \"devices.pem\"
client_certificates = \"optional\"

[[mqtt.listeners]]
address = \"127.0.0.1:9001\"
transport = \"websocket\"
allowed_origins = [\"https://scada.example\"]
max_connections = 50

[[mqtt.acl]]
filter = \"test/nosubscribe\"
action = \"subscribe\"
permission = \"deny\"
";

#[test]
fn each_table_is_an_item_with_defaults_where_it_is_silent() {
    let loaded = loaded(GOOD, &[]).unwrap();
    let [tls, web] = &loaded.config.mqtt_listeners[..] else { panic!("{loaded:?}") };
    assert_eq!((tls.address.port(), tls.transport), (8883, MqttTransport::Tcp));
    assert_eq!(tls.key_file.as_deref(), Some(Path::new("server.key")));
    assert_eq!((tls.client_certificates, tls.tls_1_2), (ClientCertificates::Optional, false));
    assert_eq!(
        (web.transport, web.max_connections, web.connect_timeout_s),
        (MqttTransport::WebSocket, 50, 10)
    );
    let [rule] = &loaded.config.mqtt_acl[..] else { panic!("{loaded:?}") };
    assert_eq!((&*rule.principal, rule.permission), ("*", Permission::Deny));
    let line = |key| match loaded.origin(key) {
        Some(Origin::File { line, .. }) => *line,
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!((line("mqtt.listeners[1].transport"), line("mqtt.acl[0].filter")), (13, 18));
    assert_eq!(loaded.origin("mqtt.listeners[0].transport"), None);
}

#[test]
fn each_fault_names_the_item() {
    let text = "\
[mqtt]
acl = \"everything\"

[[mqtt.listeners]]
adress = \"0.0.0.0:8883\"
transport = \"udp\"

[[mqtt.listeners]]
address = \"127.0.0.1:1883\"
key_file = \"server.key\"
allowed_origins = [\"*\"]

[[mqtt.listeners]]
address = \"127.0.0.1:9001\"
client_ca_file = \"devices.pem\"
";
    let address =
        "an IP address and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"; port 0 takes a free one";
    assert_eq!(faults(text, &[]), [
        "file:2: mqtt.acl = \"everything\" is no list of tables; allowed: up to 256 tables, each under [[mqtt.acl]]"
            .to_owned(),
        "file:5: mqtt.listeners[0].adress is unknown; allowed: did you mean mqtt.listeners[0].address?".to_owned(),
        "file:6: mqtt.listeners[0].transport = \"udp\" is not allowed; allowed: \"tcp\", \"websocket\"".to_owned(),
        format!("file:4: mqtt.listeners[0].address is missing; allowed: {address}"),
        "file:9: mqtt.listeners[1].address = \"127.0.0.1:1883\" is the address of mqtt.listen, too; allowed: an address \
         of its own"
            .to_owned(),
        "default: mqtt.listeners[1].certificate_file = \"\" is missing; allowed: the key's certificate".to_owned(),
        "file:11: mqtt.listeners[1].allowed_origins = [\"*\"] is for browsers; allowed: [], or transport = \
         \"websocket\""
            .to_owned(),
        "file:15: mqtt.listeners[2].client_ca_file = \"devices.pem\" needs TLS; allowed: \"\", or a certificate_file, too"
            .to_owned(),
    ]);
    assert_eq!(faults("[mqtt]\nlisten = \"\"\n", &[]).len(), 1, "nobody could connect");
}

#[test]
fn the_report_shows_them_as_toml_with_their_origin() {
    let loaded = loaded(GOOD, &[]).unwrap();
    let report = loaded.check_report();
    assert_eq!(self::loaded(&report, &[]).unwrap().config, loaded.config);
    assert!(report.contains("openegiz.toml:13\n"), "{report}");
}

#[test]
fn the_examples_of_the_example_file_are_the_defaults() {
    let example = example_toml();
    for path in ["mqtt.listeners", "mqtt.acl", "mqtt.external", "mqtt.bridge", "history.retention"] {
        let text: String = example
            .lines()
            .skip_while(|line| *line != format!("# [[{path}]]"))
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or("#")))
            .collect();
        let config = loaded(&text, &[]).expect(path).config;
        if path == "history.retention" {
            assert_eq!(config.history_retention, [TemplateRetention::default()], "{text}");
            continue;
        }
        let lists = (config.mqtt_listeners, config.mqtt_acl, config.mqtt_external, config.mqtt_bridges);
        let expected = match path {
            "mqtt.listeners" => (vec![MqttListener::default()], vec![], vec![], vec![]),
            "mqtt.acl" => (vec![], vec![MqttAclRule::default()], vec![], vec![]),
            "mqtt.external" => (vec![], vec![], vec![ExternalBroker::default()], vec![]),
            _ => (vec![], vec![], vec![], vec![BridgeTo::default()]),
        };
        assert_eq!(lists, expected, "{path}: {text}");
    }
}

#[test]
fn the_variable_of_an_external_broker_adds_one() {
    let file = "[[mqtt.external]]\nname = \"plant\"\nurl = \"mqtt://plant\"\n";
    let loaded = loaded(file, &[("MQTT_BROKER", "mosquitto:1883")]).unwrap();
    let [plant, env] = &loaded.config.mqtt_external[..] else { panic!("{loaded:?}") };
    assert_eq!((&*plant.name, &*plant.url), ("plant", "mqtt://plant"));
    assert_eq!((&*env.name, &*env.url, env.receive_maximum), ("env", "mosquitto:1883", 2_000));
    let origin = loaded.origin("mqtt.external[1].url");
    assert_eq!(origin, Some(&Origin::Variable { name: "MQTT_BROKER".to_owned() }));
    assert!(load(None, [("MQTT_BROKER", "")]).unwrap().config.mqtt_external.is_empty());
}

#[test]
fn brokers_elsewhere_have_names_of_their_own_and_keys_that_belong_together() {
    let text = "\
[[mqtt.external]]
name = \"plant\"
url = \"mqtt://plant\"
password_file = \"password\"

[[mqtt.external]]
name = \"plant\"
url = \"mqtt://plant\"
ca_file = \"ca.pem\"
topics = []

[[mqtt.bridge]]
name = \"plant\"
url = \"mqtts://central\"
protocol = \"4\"
window = 0
";
    assert_eq!(
        faults(text, &[]),
        [
            "file:15: mqtt.bridge[0].protocol = \"4\" is not allowed; allowed: \"5\", \"3.1.1\"",
            "file:16: mqtt.bridge[0].window = 0 is not allowed; allowed: 1 to 10000 messages",
            "default: mqtt.external[0].username = \"\" is missing; allowed: the name that the password belongs to",
            "file:7: mqtt.external[1].name = \"plant\" is the name of mqtt.external[0], too; allowed: a name of its own",
            "file:9: mqtt.external[1].ca_file = \"ca.pem\" needs TLS; allowed: \"\", or a url with mqtts://",
            "file:10: mqtt.external[1].topics = [] asks for nothing; allowed: at least one topic filter",
        ]
    );
}

#[test]
fn a_template_has_one_retention() {
    let file = "[[history.retention]]\ntemplate = \"a:oven:1\"\ndays = 90\n\
                [[history.retention]]\ntemplate = \"a:oven:1\"\ndays = 7\n";
    let errors = loaded(file, &[]).unwrap_err().to_string();
    assert!(errors.contains("history.retention[1].template"), "{errors}");
    assert!(errors.contains("history.retention[0]"), "{errors}");
}
