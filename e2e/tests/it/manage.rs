//! The command line that manages devices and tokens, as an administrator uses it, with a real client for what it gives.

use e2e::{Program, ProgramOptions, program};
use serde_json::Value;
use tokio::process::Command;

/// Runs `openegiz` against the program; what it printed, or its error text.
async fn openegiz(program: &Program, arguments: &[&str]) -> anyhow::Result<Result<String, String>> {
    let output = Command::new(program::binary()?)
        .args(arguments)
        .env("EGIZ_URL", program.url(""))
        .env_remove("EGIZ_TOKEN")
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

/// The word behind a label at the beginning of a line.
fn behind<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim)
}

async fn may_publish(program: &Program, username: &str, password: &str) -> anyhow::Result<bool> {
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &program.mqtt_port.to_string(), "-q", "1"])
        .args([
            "-u",
            username,
            "-P",
            password,
            "-t",
            "sensors/factory/oven-001/telemetry",
            "-m",
            "{\"a\":{\"b\":1}}",
        ])
        .stderr(std::process::Stdio::null())
        .status()
        .await?;
    Ok(status.success())
}

#[tokio::test]
async fn a_device_is_entered_gets_a_new_password_and_is_removed() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    assert_eq!(openegiz(&program, &["device", "list"]).await?, Ok("there are no devices\n".to_owned()));
    let added = openegiz(&program, &["device", "add", "oven-001"]).await?.expect("it is entered");
    let (name, first) = (behind(&added, "user name"), behind(&added, "password"));
    let (name, first) = (name.expect("a name"), first.expect("a password").to_owned());
    assert_eq!(name, "factory:oven-001");
    assert!(may_publish(&program, name, &first).await?);

    let again = openegiz(&program, &["device", "password", "oven-001", "--json"]).await?.expect("a new one");
    let second: Value = serde_json::from_str(&again)?;
    let second = second["password"].as_str().expect("a password");
    assert!(may_publish(&program, name, second).await? && !may_publish(&program, name, &first).await?);

    let listed = openegiz(&program, &["device", "list"]).await?.expect("a list");
    assert!(listed.contains("factory:oven-001") && !listed.contains(second), "{listed}");
    openegiz(&program, &["device", "withdraw", "oven-001"]).await?.expect("it is withdrawn");
    assert!(!may_publish(&program, name, second).await?);
    let shown = openegiz(&program, &["device", "show", "oven-001", "--json"]).await?.expect("it is there");
    assert_eq!(serde_json::from_str::<Value>(&shown)?["hasCredential"], false);
    openegiz(&program, &["device", "remove", "oven-001"]).await?.expect("it is removed");

    // Every step left a record, and none the secret.
    let audit = program.get("/api/v1/audit").await?;
    let actions: Vec<_> = audit["items"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(
        actions[..5],
        ["device.delete", "device.credential", "device.credential", "device.credential", "device.create"]
    );
    assert!(!audit.to_string().contains(second));
    Ok(())
}

#[tokio::test]
async fn many_devices_are_listed_to_the_last() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    for number in 0..60 {
        let name = format!("node-{number:03}");
        openegiz(&program, &["device", "add", &name, "--without-password"]).await?.expect("it is entered");
    }
    let listed = openegiz(&program, &["device", "list"]).await?.expect("a list");
    assert_eq!(listed.lines().count(), 61, "{listed}");
    Ok(())
}

#[tokio::test]
async fn what_is_refused_is_said_in_words() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    std::fs::write(&file, "sixteen-letters-or-more\n")?;
    let options = ProgramOptions::default()
        .with(format!("http.api_token_file = {:?}", file.display().to_string()))
        .with("http.allow_anonymous = \"never\"");
    let program = Program::start(options).await?;
    let token = file.display().to_string();
    let refused = openegiz(&program, &["device", "list"]).await?.expect_err("nobody is let in");
    assert!(refused.contains("--token-file"), "{refused}");
    let with = |arguments: &[&str]| [arguments, &["--token-file", &token]].concat().join("\n");
    for (arguments, words) in [
        (&["device", "show", "nobody"][..], "there is no device factory:nobody"),
        (&["device", "add", "a/b"], "a/b"),
        (&["token", "add", "x", "--role", "king"], "viewer, operator, admin or service"),
    ] {
        let arguments = with(arguments);
        let arguments: Vec<_> = arguments.split('\n').collect();
        let error = openegiz(&program, &arguments).await?.expect_err("it is refused");
        assert!(error.contains(words), "{error}");
    }
    let made = with(&["token", "add", "scada", "--role", "service"]);
    let made = openegiz(&program, &made.split('\n').collect::<Vec<_>>()).await?.expect("it is made");
    let text = behind(&made, "token").expect("a token").to_owned();
    assert!(may_publish(&program, "scada", &text).await?);
    let listed = with(&["token", "list"]);
    let listed = openegiz(&program, &listed.split('\n').collect::<Vec<_>>()).await?.expect("a list");
    assert!(listed.contains("scada  service  yes") && !listed.contains(&text), "{listed}");
    drop(program);
    let nobody = Command::new(program::binary()?)
        .args(["device", "list", "--url", "http://127.0.0.1:9"])
        .output()
        .await?;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("is the program running there?"), "{nobody:?}");
    Ok(())
}
