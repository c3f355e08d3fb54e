//! Renews the files that are made from the table of configuration keys. Run it from anywhere in the checkout.

use std::path::Path;

use egiz_service::config;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in [
        ("configs/openegiz.example.toml", config::example_toml()),
        ("configs/env.example", config::env_example()),
        ("docs/configuration.md", config::markdown()),
    ] {
        let path = root.join(path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}
