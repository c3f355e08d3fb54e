//! Back to a moment: everything received up to it, nothing received after it.

use std::time::Duration;

use e2e::ProgramOptions;
use serde_json::{Value, json};

use super::Plant;

/// Writes numbers over REST; the last answer comes when the last is applied.
async fn write(plant: &Plant, numbers: std::ops::RangeInclusive<u64>) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for number in numbers {
        let url = plant.program.url("/api/v1/things/factory:oven/features/counter/properties/number");
        let answer = http.put(url).json(&json!(number)).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
    }
    Ok(())
}

/// A moment between two messages.
async fn moment(plant: &Plant) -> anyhow::Result<String> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = reqwest::get(plant.program.url("/health")).await?;
    anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seconds = i64::try_from(now.as_secs())?;
    let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date: the civil calendar counted from the 1st of March of year 0.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(format!(
        "{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z",
        now.subsec_micros()
    ))
}

async fn numbers(plant: &Plant) -> anyhow::Result<Vec<u64>> {
    let path = "/api/v1/things/factory:oven/history?feature=counter&property=number&limit=10000";
    let answer: Value = plant.program.get(path).await?;
    let samples = answer["properties"][0]["samples"].as_array().cloned().unwrap_or_default();
    Ok(samples.iter().filter_map(|sample| sample["value"].as_u64()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_goes_back_to_any_moment_between_two_backups() -> anyhow::Result<()> {
    let mut plant = Plant::start(ProgramOptions::default(), None).await?;
    let too_early = moment(&plant).await?;
    let url = plant.program.url("/api/v1/things/factory:oven");
    let made = reqwest::Client::new().put(url).json(&json!({})).send().await?;
    anyhow::ensure!(made.status() == 201, "{}", made.text().await?);
    write(&plant, 1..=50).await?;
    plant.run(&["backup"])?;
    let just_after = moment(&plant).await?;
    write(&plant, 51..=120).await?;
    let between = moment(&plant).await?;
    write(&plant, 121..=200).await?;
    // So that what is left away was in files of history, too.
    plant.program.stop().await?;
    plant.program.restart().await?;
    plant.run(&["backup"])?;
    let too_late = moment(&plant).await?;
    plant.program.kill()?;

    let from = plant.backups().display().to_string();
    let data = plant.data().display().to_string();
    for (at, last, cut) in [(&just_after, 50, true), (&between, 120, true)] {
        let told = plant.restore(&["--from", &from, "--at", at])?;
        assert_eq!(told.contains("are left away"), cut, "{told}");
        plant.program.restart().await?;
        assert_eq!(numbers(&plant).await?, (1..=last).collect::<Vec<_>>(), "{told}");
        let thing = plant.program.get("/api/v1/things/factory:oven").await?;
        assert_eq!(thing["features"]["counter"]["properties"]["number"], json!(last));
        // It goes on from there.
        write(&plant, 1000..=1001).await?;
        plant.program.kill()?;
    }
    std::fs::remove_dir_all(plant.data())?;
    for (at, part) in [(&too_early, "the oldest backup"), (&too_late, "the newest backup")] {
        let refused = plant.fail(&["restore", "--from", &from, "--data", &data, "--at", at])?;
        assert!(refused.contains(part) && refused.contains("allowed"), "{refused}");
    }
    Ok(())
}
