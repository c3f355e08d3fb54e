//! What a new user tries first: publish with the tools at hand, and see it.

use std::process::Command;

use anyhow::Context as _;
use e2e::python::{python, said};
use e2e::web_socket::Client;
use e2e::{Program, ProgramOptions, mqtt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The product document's own message, from a device nobody has configured.
const PAYLOAD: &str =
    r#"{"device_id":"oven-001","timestamp":1706352600,"thermal":{"temperature_zones":[195,192,193]}}"#;

async fn subscribed(program: &Program, thing: &str) -> anyhow::Result<Client> {
    let mut client = Client::connect(&program.web_socket_url()).await?;
    client.send(&json!({"action": "subscribe", "thingId": thing})).await?;
    client.until(|frame| frame["ok"] == true).await?;
    Ok(client)
}

fn zones(thing: &Value) -> &Value {
    &thing["features"]["thermal"]["properties"]["temperature_zones"]
}

/// Waits until the WebSocket shows a Thing with these zones: in a snapshot, as entered, or as changed.
async fn sees_zones(client: &mut Client, expected: &Value) -> anyhow::Result<Value> {
    client
        .until(|frame| match frame["event"].as_str() {
            Some("StateChanged") => frame["properties"]["temperature_zones"] == *expected,
            Some("Snapshot") => frame["things"]
                .as_array()
                .is_some_and(|things| things.iter().any(|thing| zones(thing) == expected)),
            Some("ThingCreated" | "ThingEntered") => zones(&frame["thing"]) == expected,
            _ => false,
        })
        .await
}

fn mosquitto_pub(program: &Program, version: &str, payload: &str) {
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &program.mqtt_port.to_string(), "-V", version, "-q", "1"])
        .args(["-t", "sensors/factory/oven-001/telemetry", "-m", payload])
        .status()
        .expect("mosquitto_pub is there: `cargo xtask test` installs it (Debian package mosquitto-clients)");
    assert!(status.success(), "mosquitto_pub over {version}: {status}");
}

#[tokio::test]
async fn mosquitto_pub_changes_the_twin_and_arrives_on_a_web_socket() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let mut client = subscribed(&program, "factory:oven-001").await?;

    mosquitto_pub(&program, "mqttv311", PAYLOAD);
    sees_zones(&mut client, &json!([195, 192, 193])).await?;
    let thing = program.get("/api/v1/things/factory:oven-001").await?;
    assert_eq!(zones(&thing), &json!([195, 192, 193]));
    assert_eq!(thing["thingId"], "factory:oven-001");
    let by_bare_name = program.get("/api/v1/things/oven-001").await?;
    assert_eq!(by_bare_name["thingId"], "factory:oven-001");

    mosquitto_pub(&program, "mqttv5", &PAYLOAD.replace("1706352600", "1706352605").replace("195", "196.5"));
    let event = sees_zones(&mut client, &json!([196.5, 192, 193])).await?;
    assert_eq!(event["event"], "StateChanged");
    for time in ["source", "received", "durable", "applied"] {
        assert!(event["time"][time].is_string(), "{event}");
    }
    let changed = program.get("/api/v1/things/factory:oven-001").await?;
    assert!(changed["_revision"].as_u64() > thing["_revision"].as_u64(), "{changed}");
    Ok(())
}

/// The README's own commands, one straight after the other.
#[tokio::test]
async fn the_readmes_first_commands_show_the_new_device_at_once() -> anyhow::Result<()> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))?;
    let block = readme.split("```sh\n").find(|block| block.starts_with("mosquitto_pub"));
    let commands = block.and_then(|block| block.split("```").next()).expect("the README publishes something");
    for round in 0..5 {
        let program = Program::start(ProgramOptions::default()).await?;
        let commands = commands
            .replace("localhost:8080", &format!("127.0.0.1:{}", program.http_port))
            .replace("mosquitto_pub", &format!("mosquitto_pub -h 127.0.0.1 -p {}", program.mqtt_port))
            // The last one goes on for ever.
            .replace("curl -sN", "timeout 1 curl -sN");
        let output = Command::new("sh").args(["-c", &commands]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (thing, rest) = text.split_at(text.find("}{").map_or(text.len(), |at| at + 1));
        let thing: Value = serde_json::from_str(thing).map_err(|error| anyhow::anyhow!("{error}: {text}"))?;
        assert_eq!(zones(&thing), &json!([195, 192, 193]), "round {round}: {text}");
        assert!(rest.contains("\"samples\":[{"), "its history is there: {text}");
        assert!(rest.contains("event: Snapshot") && rest.contains("195,192,193"), "{text}");
    }
    Ok(())
}

/// Whoever got a PUBACK reads the value that it stands for, every time.
#[tokio::test]
async fn a_read_straight_after_a_puback_sees_the_message() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let (mut answers, mut device) = mqtt::connect(program.mqtt_port, "oven-001").await?;
    let path = "/api/v1/things/factory:oven-001/features/thermal/properties/number";
    for number in 0..500 {
        let mut packet = Vec::new();
        let payload = json!({"thermal": {"number": number}}).to_string();
        mqtt::push_publish(&mut packet, "sensors/factory/oven-001/telemetry", 1, payload.as_bytes());
        device.write_all(&packet).await?;
        answers.read_exact(&mut [0; 4]).await?;
        assert_eq!(program.get(path).await?, number);
    }
    Ok(())
}

#[tokio::test]
async fn mosquitto_sub_hears_what_is_published_and_what_is_retained() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    for version in ["mqttv311", "mqttv5"] {
        let retained = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &program.mqtt_port.to_string(), "-V", version, "-q", "1", "-r"])
            .args(["-t", &format!("notes/{version}"), "-m", "kept"])
            .status()?;
        assert!(retained.success());
        let heard = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &program.mqtt_port.to_string(), "-V", version, "-q", "1"])
            .args(["-t", &format!("notes/{version}/#"), "-C", "1", "-W", "10", "-F", "%t %q %r %p"])
            .output()?;
        assert_eq!(String::from_utf8_lossy(&heard.stdout).trim(), format!("notes/{version} 1 1 kept"));
    }
    Ok(())
}

/// Publishes with paho-mqtt and waits for the PUBACK.
const PAHO: &str = r#"
import sys, paho.mqtt.client as mqtt
port, version, payload = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho-" + version,
                     protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311)
client.connect("127.0.0.1", port, 30)
client.loop_start()
sent = client.publish("sensors/factory/mixer-007/telemetry", payload, qos=1)
sent.wait_for_publish(10)
assert sent.is_published(), "no PUBACK"
client.disconnect()
client.loop_stop()
"#;

#[tokio::test]
async fn paho_mqtt_is_acknowledged_and_seen() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    for (version, speed) in [("3", 1400), ("5", 1450)] {
        let payload = json!({"device_id": "mixer-007", "mechanical": {"speed_rpm": speed}}).to_string();
        let arguments = ["-c", PAHO, &program.mqtt_port.to_string(), version, &payload];
        said(python().args(arguments)).with_context(|| format!("paho-mqtt over version {version}"))?;
        let mut client = subscribed(&program, "factory:mixer-007").await?;
        client
            .until(|frame| {
                let thing = &frame["things"][0];
                frame["properties"]["speed_rpm"] == speed
                    || thing["features"]["mechanical"]["properties"]["speed_rpm"] == speed
                    || frame["thing"]["features"]["mechanical"]["properties"]["speed_rpm"] == speed
            })
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_payload_that_is_not_understood_is_shown_with_the_reason() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    mosquitto_pub(&program, "mqttv311", "{\"thermal\": NaN}");
    let rejected = program.get("/api/v1/rejected").await?;
    let text = rejected.to_string();
    assert!(text.contains("sensors/factory/oven-001/telemetry") && text.contains("not-json"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_device_waits_for_acceptance_where_the_config_says_so() -> anyhow::Result<()> {
    let program =
        Program::start(ProgramOptions::default().with("ingest.unknown_devices = \"discover\"")).await?;
    mosquitto_pub(&program, "mqttv311", PAYLOAD);
    let http = reqwest::Client::new();
    let missing = http.get(program.url("/api/v1/things/factory:oven-001")).send().await?;
    assert_eq!(missing.status(), 404);
    let mut discovered = program.get("/api/v1/devices/discovered").await?;
    // The acknowledgement goes out when the message is durable, which may be a moment before it is applied.
    for _ in 0..100 {
        if discovered.to_string().contains("factory:oven-001") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        discovered = program.get("/api/v1/devices/discovered").await?;
    }
    assert!(discovered.to_string().contains("factory:oven-001"), "{discovered}");

    let accepted = http
        .post(program.url("/api/v1/devices/discovered/factory:oven-001/accept"))
        .json(&json!({"template": "tunnel-oven"}))
        .send()
        .await?;
    assert!(accepted.status().is_success(), "{}", accepted.text().await?);
    let thing = program.get("/api/v1/things/factory:oven-001?metadata=true").await?;
    assert_eq!(zones(&thing), &json!([195, 192, 193]), "the last values heard are there at once");
    assert_eq!(thing["attributes"]["type"], "oven");
    assert_eq!(thing["_metadata"]["thermal"]["temperature_zones"]["unit"], "°C");
    Ok(())
}

#[tokio::test]
async fn a_correlation_id_arrives_with_the_event_that_it_caused() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    mosquitto_pub(&program, "mqttv5", PAYLOAD);
    let mut client = subscribed(&program, "factory:oven-001").await?;
    sees_zones(&mut client, &json!([195, 192, 193])).await?;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    for (number, name, value, expected) in
        [(1, "correlation-id", "batch-7+1", "batch-7+1"), (2, "traceparent", &traceparent, trace)]
    {
        let status = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &program.mqtt_port.to_string(), "-V", "mqttv5", "-q", "1"])
            .args(["-D", "publish", "user-property", name, value])
            .args(["-t", "sensors/factory/oven-001/telemetry"])
            .args(["-m", &json!({"thermal": {"temperature_zones": [number]}}).to_string()])
            .status()?;
        assert!(status.success(), "{status}");
        let event = sees_zones(&mut client, &json!([number])).await?;
        assert_eq!(event["cause"]["correlationId"], expected, "{event}");
    }

    let http = reqwest::Client::new();
    for (name, value, expected) in
        [("x-correlation-id", "order=9", "order=9"), ("traceparent", &traceparent, trace)]
    {
        let path = "/api/v1/things/factory:oven-001/features/thermal/properties/setpoint";
        let put = http.put(program.url(path)).header(name, value).json(&json!(expected)).send().await?;
        assert!(put.status().is_success(), "{put:?}");
        let seen = |frame: &Value| frame["properties"]["setpoint"] == expected;
        let event = client.until(seen).await?;
        assert_eq!(event["cause"]["correlationId"], expected, "{event}");
    }
    Ok(())
}

#[tokio::test]
async fn a_write_over_rest_is_seen_by_the_next_search() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let http = reqwest::Client::new();
    let created = http
        .put(program.url("/api/v1/things/factory:silo-009"))
        .json(&json!({"thingId": "factory:silo-009", "attributes": {"type": "silo"}, "features": {"level": {"properties": {"percent": 40}}}}))
        .send()
        .await?;
    assert_eq!(created.status(), 201);
    for percent in [41, 42, 43] {
        let put = http
            .put(program.url("/api/v1/things/factory:silo-009/features/level/properties/percent"))
            .json(&json!(percent))
            .send()
            .await?;
        assert_eq!(put.status(), 204);
        let found = http
            .post(program.url("/api/v1/query"))
            .json(&json!({"filter": format!("and(eq(attributes/type,\"silo\"),eq(features/level/properties/percent,{percent}))")}))
            .send()
            .await?
            .json::<Value>()
            .await?;
        assert_eq!(found["items"][0]["thingId"], "factory:silo-009", "{found}");
    }
    let simple = http
        .post(program.url("/api/v1/query"))
        .json(&json!({"filter": {"type": "silo"}}))
        .send()
        .await?
        .json::<Value>()
        .await?;
    assert_eq!(simple["items"].as_array().map(Vec::len), Some(1), "{simple}");
    Ok(())
}
