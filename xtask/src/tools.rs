//! Locates what tests and demo need beyond Rust, and installs what is missing where that is possible.
//!
//! Debian's packages are installed when we are root and `apt-get` is there; Python packages go into
//! `target/tools/python`, cargo's tools into `target/tools`. Where nothing can be installed, the error says what to do.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::process::{cargo, command, output, run, say, target_dir};

/// A program from a Debian package.
pub(crate) struct DebianTool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// The real broker that ours is measured and tested beside.
pub(crate) const MOSQUITTO: DebianTool =
    DebianTool { program: "mosquitto", package: "mosquitto", purpose: "a second broker to compare with" };
/// Real MQTT clients.
pub(crate) const MOSQUITTO_CLIENTS: DebianTool =
    DebianTool { program: "mosquitto_pub", package: "mosquitto-clients", purpose: "real MQTT clients" };
/// A real browser.
pub(crate) const CHROMIUM: DebianTool =
    DebianTool { program: "chromium", package: "chromium", purpose: "browser tests" };
/// An HTTP load generator.
pub(crate) const WRK: DebianTool =
    DebianTool { program: "wrk", package: "wrk", purpose: "REST load in benchmarks" };
/// The real InfluxDB that is written to.
pub(crate) const INFLUXDB: DebianTool =
    DebianTool { program: "influxd", package: "influxdb", purpose: "an InfluxDB to write to" };
/// Another server that takes InfluxDB's lines.
pub(crate) const VICTORIA_METRICS: DebianTool = DebianTool {
    program: "victoria-metrics",
    package: "victoria-metrics",
    purpose: "a server besides InfluxDB that takes its lines",
};

/// What libFuzzer is compiled with.
pub(crate) const CXX: DebianTool =
    DebianTool { program: "c++", package: "g++", purpose: "building libFuzzer" };

/// Finds the tools, installing those that are missing.
///
/// # Errors
/// Names what is missing and how to get it.
pub(crate) fn need(tools: &[DebianTool]) -> anyhow::Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| locate(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    let is_root = output(command("id").arg("-u")).as_deref() == Some("0");
    if is_root && locate("apt-get").is_some() {
        say(&format!("installing Debian packages: {}", packages.join(" ")));
        // A stale list may name versions that are gone; an update that fails may still leave a usable list.
        let _ = run(command("apt-get").args(["update", "-qq"]));
        run(command("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    for tool in missing {
        if locate(tool.program).is_none() {
            bail!(
                "`{}` is needed for {}, is not on this machine and could not be installed; on Debian: sudo apt-get install {}",
                tool.program,
                tool.purpose,
                tool.package
            );
        }
    }
    Ok(())
}

/// The full path of a program on the search path (or where Debian puts daemons).
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A folder with Python packages for `PYTHONPATH`, filled once.
///
/// # Errors
/// Where Python or pip is missing, or the packages cannot be had.
pub(crate) fn python_packages() -> anyhow::Result<PathBuf> {
    // Real clients of MQTT and InfluxDB, a server of the S3 protocol, and what engineers read history with.
    const PACKAGES: [&str; 8] = [
        "paho-mqtt==2.1.0",
        "influxdb==5.3.2",
        "influxdb-client==1.50.0",
        "moto[s3,server]==5.2.5",
        "duckdb==2.0.1",
        "pandas==3.1.1",
        "polars==2.1.0",
        "pyarrow==26.0.1",
    ];
    let folder = target_dir().join("tools/python");
    let done = folder.join(".complete");
    if std::fs::read_to_string(&done).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(folder);
    }
    if output(command("python3").args(["-m", "pip", "--version"])).is_none() {
        need(&[DebianTool { program: "pip3", package: "python3-pip", purpose: "Python's MQTT client" }])?;
    }
    run(command("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .args(["--upgrade"])
        .args(PACKAGES))?;
    std::fs::write(&done, PACKAGES.join(" "))?;
    Ok(folder)
}

/// A cargo subcommand, installed under `target/tools` unless it is there already.
///
/// # Errors
/// Where it cannot be built.
pub(crate) fn cargo_tool(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let folder = target_dir().join("tools");
    let program = folder.join("bin").join(name);
    let found = if program.is_file() { Some(program.clone()) } else { locate(name) };
    if let Some(found) = found {
        let has = output(command(&found).arg("--version")).unwrap_or_default();
        if has.ends_with(version) || !is_ours(&found, &folder) {
            return Ok(found);
        }
    }
    say(&format!("building {name} {version} for the first time (a few minutes)"));
    run(cargo()
        .args(["install", "--quiet", "--locked", "--debug", "--root"])
        .arg(&folder)
        .args(["--version", version, name])
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    Ok(program)
}

fn is_ours(program: &Path, folder: &Path) -> bool {
    program.starts_with(folder)
}
