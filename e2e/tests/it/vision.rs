//! EgizVision in a real browser against the real program with the simulated factory.

use std::path::Path;
use std::process::Command;

use e2e::{Program, ProgramOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_live_values_of_the_simulated_factory() -> anyhow::Result<()> {
    let options = ProgramOptions { arguments: vec!["--demo".into()], ..ProgramOptions::default() };
    let program = Program::start(options).await?;
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("egizvision");
    let output = tokio::task::spawn_blocking({
        let url = program.url("");
        move || {
            Command::new("npm")
                .args(["run", "--silent", "test:live"])
                .current_dir(client)
                .env("EGIZ_URL", url)
                .output()
        }
    })
    .await??;
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        program.log()
    );
    Ok(())
}

#[tokio::test]
async fn both_ports_serve_the_client_and_the_api() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    for port in [program.http_port, program.vision_port] {
        let page = reqwest::get(format!("http://127.0.0.1:{port}/")).await?;
        assert!(page.headers()["content-type"].to_str()?.starts_with("text/html"));
        assert!(page.text().await?.contains("<script"), "the built client, not a placeholder");
        let things = reqwest::get(format!("http://127.0.0.1:{port}/api/v1/things")).await?;
        assert!(things.status().is_success());
    }
    Ok(())
}
