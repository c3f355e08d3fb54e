//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use egiz_service::config::{self, Loaded};

use crate::backup::{self, BackupOptions, BackupsCommand, RestoreOptions};
use crate::manage::{DeviceCommand, TokenCommand};
use crate::ml::{self, MlCommand};
use crate::up::What;
use crate::{listeners, manage, up};

#[derive(Parser)]
#[command(name = "openegiz", version, about = "A digital twin of a factory, in one program")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the platform: broker, twin, API and EgizVision.
    Up(UpOptions),
    /// Run the MQTT broker alone, on the same data: no REST, no web client.
    Broker(BrokerOptions),
    /// Look at the configuration without starting anything.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// See and change which devices may sign in to the broker of the running program.
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// See and change the API tokens of the running program.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make a backup: of the running program, by that program, or of the data folder of a stopped one.
    Backup(BackupOptions),
    /// See, check and thin out the backups.
    Backups {
        #[command(subcommand)]
        command: BackupsCommand,
    },
    /// Bring a backup back into an empty folder.
    Restore(RestoreOptions),
    /// Run simulated devices against a broker.
    Simulate(SimulateOptions),
    /// Judge anomaly detection.
    Ml {
        #[command(subcommand)]
        command: MlCommand,
    },
    /// Print the OpenAPI document of the REST API.
    Openapi,
}

/// Where the configuration is.
#[derive(Args, Debug, Clone)]
pub(crate) struct ConfigOptions {
    /// Configuration file in TOML; without it, defaults and the environment.
    #[arg(long, short, env = "EGIZ_CONFIG")]
    config: Option<PathBuf>,
}

/// How to run the platform.
#[derive(Args, Debug, Clone)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// Run a simulated food factory besides, and show its layout.
    #[arg(long)]
    pub(crate) demo: bool,
}

/// How to run the broker alone.
#[derive(Args, Debug, Clone)]
pub(crate) struct BrokerOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// The port of the plain listener, in place of that of mqtt.listen; 0 takes a free one.
    #[arg(long, short)]
    port: Option<u16>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration, and print each value with where it comes from; or every error at once.
    Check(ConfigOptions),
}

/// How to run simulated devices.
#[derive(Args, Debug, Clone)]
pub(crate) struct SimulateOptions {
    /// The simulation's own configuration file in TOML; see docs/simulator.md.
    #[arg(long, short)]
    pub(crate) config: Option<PathBuf>,
    /// The broker's address, host:port [default: 127.0.0.1:1883].
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// How many devices; the plant is repeated as often as needed [default: 18].
    #[arg(long)]
    pub(crate) devices: Option<usize>,
    /// File that the truth about the faults is added to, as JSON lines; `-` is standard output. It is logged in any case.
    #[arg(long)]
    pub(crate) truth: Option<PathBuf>,
}

/// Reads the arguments and does what they say.
pub(crate) fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(options) => load(&options.config)
            .and_then(|loaded| up::run(loaded, if options.demo { What::Demo } else { What::Platform })),
        Command::Broker(options) => broker(&options),
        Command::Config { command: ConfigCommand::Check(options) } => load(&options).and_then(|loaded| {
            listeners::doors(&loaded).context("the configuration is not usable")?;
            crate::elsewhere::Elsewhere::check(&loaded).context("the configuration is not usable")?;
            backup::check(&loaded).context("the configuration is not usable")?;
            crate::influxdb::Influxdb::check(&loaded).context("the configuration is not usable")?;
            print(&loaded.check_report());
            crate::start::check_files(&loaded.config)
        }),
        Command::Device { command } => manage::device(&command).map(|text| print(text.trim_end())),
        Command::Token { command } => manage::token(&command).map(|text| print(text.trim_end())),
        Command::Backup(options) => load(&options.config)
            .and_then(|loaded| backup::backup(&options, &loaded))
            .map(|text| print(&text)),
        Command::Backups { command } => load(command.config())
            .and_then(|loaded| backup::backups(&command, &loaded))
            .map(|text| print(text.trim_end())),
        Command::Restore(options) => backup::restore(&options).map(|text| print(&text)),
        Command::Simulate(options) => crate::plant::simulate(&options),
        Command::Ml { command } => ml::run(&command).map(|text| print(&text)),
        Command::Openapi => serde_json::to_string_pretty(&egiz_server::document())
            .context("the document cannot be written")
            .map(|text| print(&text)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn broker(options: &BrokerOptions) -> anyhow::Result<()> {
    let mut loaded = load(&options.config)?;
    if let Some(port) = options.port {
        let address = loaded.config.mqtt.listen.map_or(Ipv4Addr::LOCALHOST.into(), |listen| listen.ip());
        loaded.config.mqtt.listen = Some(SocketAddr::new(address, port));
    }
    up::run(loaded, What::BrokerAlone)
}

fn load(options: &ConfigOptions) -> anyhow::Result<Loaded> {
    // `EGIZ_CONFIG` has told which file; it is no setting itself.
    let variables = std::env::vars_os().filter(|(name, _)| name != "EGIZ_CONFIG");
    config::load(options.config.as_deref(), variables).context("the configuration is not usable")
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last word of a program that could not do what was asked")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
