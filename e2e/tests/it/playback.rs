//! The past is played by the shipped program: what a client puts together from key frames and changes is what REST says of the
//! same moments, back and forth, and goes on after a kill.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::web_socket::Client;
use e2e::{Program, ProgramOptions, mqtt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DEVICES: [&str; 2] = ["mixer-001", "oven-001"];
/// What the devices say is so old, in seconds, when they say it.
const AGE_S: u64 = 600;
const SAMPLES: u64 = 120;

/// What a client knows of each property, by Thing, feature and name.
type Picture = BTreeMap<(String, String, String), Value>;

fn take(picture: &mut Picture, frame: &Value) {
    for thing in frame["things"].as_array().into_iter().flatten() {
        let id = thing["thingId"].as_str().unwrap_or_default();
        for (feature, of_feature) in thing["features"].as_object().into_iter().flatten() {
            for (name, property) in of_feature["properties"].as_object().into_iter().flatten() {
                picture.insert((id.to_owned(), feature.clone(), name.clone()), property["value"].clone());
            }
        }
    }
}

/// A time in milliseconds since 1970, as the program writes it.
fn moment(millis: u64) -> anyhow::Result<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(millis)?)?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// A sample every second from each device, measured ten minutes ago, acknowledged. Returns when the first was measured, in
/// milliseconds.
async fn say(program: &Program) -> anyhow::Result<u64> {
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let begin = now - AGE_S * 1000;
    for name in DEVICES {
        let thing = json!({"features": {"thermal": {"properties": {"note": "new"}}}});
        let url = program.url(&format!("/api/v1/things/factory:{name}"));
        let made = reqwest::Client::new().put(url).json(&thing).send().await?;
        anyhow::ensure!(made.status().is_success(), "{}", made.text().await?);
        let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, name).await?;
        let mut out = Vec::new();
        for number in 0..SAMPLES {
            let timestamp = moment(begin + number * 1000)?;
            let payload = json!({
                "device_id": name,
                "timestamp": timestamp,
                "thermal": {"power": number, "zone": (number * 37) % 50},
            });
            let topic = format!("sensors/factory/{name}/telemetry");
            mqtt::push_publish(&mut out, &topic, u16::try_from(number + 1)?, payload.to_string().as_bytes());
        }
        writer.write_all(&out).await?;
        let (mut buffer, mut acknowledged) = (Vec::new(), 0);
        while acknowledged < SAMPLES {
            anyhow::ensure!(reader.read_buf(&mut buffer).await? > 0, "the connection ended");
            mqtt::take_acknowledgements(&mut buffer, |_| acknowledged += 1)?;
        }
    }
    Ok(begin)
}

/// What REST says of a moment.
async fn state(program: &Program, at: &str) -> anyhow::Result<Picture> {
    let mut picture = Picture::new();
    let answer = program.get(&format!("/api/v1/state?at={at}")).await?;
    take(&mut picture, &json!({"things": answer["items"]}));
    Ok(picture)
}

/// Reads a key frame to its end. Returns what it shows.
async fn key_frame(client: &mut Client) -> anyhow::Result<Picture> {
    let mut picture = Picture::new();
    loop {
        let frame = client.until(|frame| frame["event"] == "KeyFrame").await?;
        take(&mut picture, &frame);
        if frame["more"] == false {
            return Ok(picture);
        }
    }
}

#[tokio::test]
async fn what_is_played_is_what_rest_says_of_each_moment() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default()).await?;
    let begin = say(&program).await?;
    for is_restarted in [false, true] {
        if is_restarted {
            program.kill()?;
            program.restart().await?;
        }
        let mut client = Client::connect(&program.web_socket_url()).await?;
        let (from, until) = (moment(begin + 10_500)?, moment(begin + 100_500)?);
        client.send(&json!({"id": 1, "action": "play", "at": from, "until": until, "speed": 60})).await?;
        let answer = client.until(|frame| frame["id"] == 1).await?;
        assert_eq!((&answer["ok"], &answer["time"]), (&json!(true), &json!(from)), "{answer}");
        let mut picture = key_frame(&mut client).await?;
        assert_eq!(picture, state(&program, &from).await?);
        assert_eq!(picture[&("factory:oven-001".into(), "thermal".into(), "power".into())], 10);
        let mut ticks = 0;
        loop {
            let frame = client.next().await?;
            match frame["event"].as_str() {
                Some("Changes") => {
                    take(&mut picture, &frame);
                    let time = frame["time"].as_str().unwrap_or_default();
                    if frame["more"] == false && ticks % 5 == 0 {
                        assert_eq!(picture, state(&program, time).await?, "at {time}");
                    }
                    ticks += 1;
                }
                Some("Ended") => break,
                _ => anyhow::ensure!(frame["event"] == "Position", "{frame}"),
            }
        }
        assert!(ticks >= 10, "90 seconds at 60 in lots of 100 ms: {ticks}");
        assert_eq!(picture, state(&program, &until).await?);

        // Back, and on by one.
        let playback = answer["playback"].clone();
        let back = moment(begin + 30_000)?;
        client.send(&json!({"id": 2, "action": "seek", "playback": playback, "at": back})).await?;
        client.until(|frame| frame["id"] == 2).await?;
        let mut picture = key_frame(&mut client).await?;
        assert_eq!(picture, state(&program, &back).await?);
        client.send(&json!({"id": 3, "action": "step", "playback": playback, "by": "next"})).await?;
        let changes = client.until(|frame| frame["event"] == "Changes").await?;
        assert_eq!(changes["time"], json!(moment(begin + 31_000)?));
        take(&mut picture, &changes);
        assert_eq!(picture, state(&program, changes["time"].as_str().unwrap_or_default()).await?);
    }
    Ok(())
}
