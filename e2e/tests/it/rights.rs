//! What is taken back ends what it had opened.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{Program, ProgramOptions};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn call(program: &Program, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let mut request = Client::new().request(method, program.url(path));
    if let Some(body) = &body {
        request = request.json(body);
    }
    let response = request.send().await?;
    let (status, text) = (response.status(), response.text().await?);
    anyhow::ensure!(status.is_success(), "{path}: {status}: {text}");
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Logs in with MQTT 5; the connection, if it was let in.
async fn log_in(program: &Program, username: &str, password: &str) -> anyhow::Result<Option<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", program.mqtt_port)).await?;
    let text =
        |text: &str| [&u16::try_from(text.len()).unwrap_or(0).to_be_bytes()[..], text.as_bytes()].concat();
    let mut body = [&text("MQTT")[..], &[5, 0xC2, 0, 0, 0]].concat();
    body.extend([text(username), text(username), text(password)].concat());
    stream.write_all(&[&[0x10, u8::try_from(body.len())?][..], &body].concat()).await?;
    let mut answer = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    let mut properties = vec![0; usize::from(answer[1]).saturating_sub(2)];
    stream.read_exact(&mut properties).await?;
    Ok((answer[3] == 0).then_some(stream))
}

/// The connection ends, with DISCONNECT: not authorized.
async fn is_ended(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("the connection stays open")??;
    anyhow::ensure!(rest == [0xE0, 1, 0x87], "{rest:02x?}");
    Ok(())
}

async fn is_open(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(&[0xC0, 0]).await?;
    let mut answer = [0; 2];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    anyhow::ensure!(answer == [0xD0, 0], "{answer:02x?}");
    Ok(())
}

#[tokio::test]
async fn a_device_whose_password_changes_or_goes_is_disconnected_at_once() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let device = |name: &str| format!("/api/v1/devices/factory:{name}");
    let mut others = Vec::new();
    let mut passwords = Vec::new();
    for name in ["oven-001", "mixer-001"] {
        let new = json!({"deviceId": format!("factory:{name}")});
        call(&program, Method::POST, "/api/v1/devices", Some(new)).await?;
        let given = call(&program, Method::POST, &format!("{}/credentials", device(name)), None).await?;
        passwords.push(given["password"].as_str().context("a password")?.to_owned());
    }
    let mixer = log_in(&program, "factory:mixer-001", &passwords[1]).await?.context("let in")?;
    others.push(mixer);
    // A new password; then none; then no device.
    for step in 0..3 {
        let password = if step == 1 {
            passwords[0].clone()
        } else {
            let path = format!("{}/credentials", device("oven-001"));
            call(&program, Method::POST, &path, None).await?["password"]
                .as_str()
                .context("a password")?
                .to_owned()
        };
        let oven = log_in(&program, "factory:oven-001", &password).await?.context("let in")?;
        match step {
            0 => {
                let path = format!("{}/credentials", device("oven-001"));
                let given = call(&program, Method::POST, &path, None).await?;
                passwords[0] = given["password"].as_str().context("a password")?.to_owned();
            }
            1 => {
                call(&program, Method::DELETE, &format!("{}/credentials", device("oven-001")), None).await?;
            }
            _ => {
                call(&program, Method::DELETE, &device("oven-001"), None).await?;
            }
        }
        is_ended(oven).await?;
        assert!(log_in(&program, "factory:oven-001", &password).await?.is_none(), "the old password is good");
        for other in &mut others {
            is_open(other).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_connections() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let new = json!({"name": "scada", "role": "service"});
    let token = call(&program, Method::POST, "/api/v1/tokens", Some(new)).await?;
    let token = token["token"].as_str().context("a token")?;
    let mut service = log_in(&program, "anybody", token).await?.context("let in")?;
    is_open(&mut service).await?;
    call(&program, Method::DELETE, "/api/v1/tokens/scada", None).await?;
    is_ended(service).await?;
    assert!(log_in(&program, "anybody", token).await?.is_none(), "the token is good");
    Ok(())
}
