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
    for (path, config) in [("mqtt.listeners", "mqtt_listeners"), ("mqtt.acl", "mqtt_acl")] {
        let text: String = example
            .lines()
            .skip_while(|line| *line != format!("# [[{path}]]"))
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or("#")))
            .collect();
        let loaded = loaded(&text, &[]).expect(config);
        let (listeners, rules) = (&loaded.config.mqtt_listeners, &loaded.config.mqtt_acl);
        assert!(
            listeners == &[MqttListener::default()] || rules == &[MqttAclRule::default()],
            "{config}: {text}"
        );
    }
}
