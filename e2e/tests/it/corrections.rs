//! What people say about the past is there when it was answered: after a kill, and after a restore from a backup.

use e2e::{Program, ProgramOptions};
use serde_json::{Value, json};

use crate::backup::Plant;

const THING: &str = "/api/v1/things/factory:oven-001";
const CORRECTIONS: &str = "/api/v1/things/factory:oven-001/history/corrections";

async fn post(program: &Program, path: &str, body: &Value) -> anyhow::Result<Value> {
    let response = reqwest::Client::new().post(program.url(path)).json(body).send().await?;
    let status = response.status();
    let text = response.text().await?;
    anyhow::ensure!(status == 201, "POST {path}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// The values of the property, and how each is called, corrected or as they were said.
async fn values(program: &Program, how: &str) -> anyhow::Result<Vec<(Value, Value)>> {
    let history = program.get(&format!("{THING}/history?property=f/x{how}")).await?;
    let samples = history["properties"][0]["samples"].as_array().cloned().unwrap_or_default();
    Ok(samples.into_iter().map(|sample| (sample["value"].clone(), sample["reason"].clone())).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_and_an_annotation_outlive_a_kill_and_come_back_from_a_backup() -> anyhow::Result<()> {
    let mut plant = Plant::start(ProgramOptions::default(), None).await?;
    let http = reqwest::Client::new();
    for number in 1..=20 {
        let thing = json!({"features": {"f": {"properties": {"x": number}}}});
        let written = http.put(plant.program.url(THING)).json(&thing).send().await?;
        anyhow::ensure!(written.status().is_success(), "{}", written.text().await?);
    }
    let history = plant.program.get(&format!("{THING}/history?property=f/x")).await?;
    let samples = history["properties"][0]["samples"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(samples.len() == 20, "{history}");
    let mut corrected: Vec<(Value, Value)> = (1..=20).map(|number| (json!(number), Value::Null)).collect();
    let original = corrected.clone();
    // Each is there from its answer on, however the program ends.
    for place in [4_usize, 9, 14] {
        let body =
            json!({"property": "f/x", "time": samples[place]["time"], "value": -1, "reason": "misread"});
        post(&plant.program, CORRECTIONS, &body).await?;
        corrected[place] = (json!(-1), json!("corrected"));
        post(&plant.program, "/api/v1/annotations", &json!({"thingId": "factory:oven-001", "text": "seen"}))
            .await?;
        plant.program.kill()?;
        plant.program.restart().await?;
        assert_eq!(values(&plant.program, "").await?, corrected);
        assert_eq!(values(&plant.program, "&corrected=false").await?, original);
    }
    let undone = http.delete(plant.program.url(&format!("{CORRECTIONS}/2"))).send().await?;
    assert_eq!(undone.status(), 204);
    corrected[9] = original[9].clone();
    plant.program.kill()?;
    plant.program.restart().await?;
    assert_eq!(values(&plant.program, "").await?, corrected);
    let metrics = reqwest::get(plant.program.url("/metrics")).await?.text().await?;
    assert!(metrics.contains("\negiz_history_corrections 2\n"), "{metrics}");

    plant.run(&["backup"])?;
    plant.program.kill()?;
    let from = plant.backups().display().to_string();
    plant.restore(&["--from", &from])?;
    plant.program.restart().await?;
    assert_eq!(values(&plant.program, "").await?, corrected);
    let annotations = plant.program.get("/api/v1/annotations?thing=factory:oven-001").await?;
    assert_eq!(annotations["items"].as_array().map(Vec::len), Some(3), "{annotations}");
    let all = plant.program.get(&format!("{CORRECTIONS}?undone=true")).await?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(3), "{all}");
    Ok(())
}
