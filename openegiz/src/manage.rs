//! `openegiz device` and `openegiz token`: who may do what, from a shell, by the REST API of the running program.
//!
//! It asks and shows; every rule is the API's. What is printed for people may change, what `--json` prints is what the API answers.

mod table;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use egiz_api::{
    ApiToken, ApiTokenPage, Credential, Device, DevicePage, MadeApiToken, NewApiToken, NewDevice, Problem,
    TokenRole,
};
use reqwest::{Client, Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use table::Table;
use table::yes_no;

/// Where the running program is, and who asks.
#[derive(Args, Debug, Clone)]
pub(crate) struct Remote {
    /// The address of the running program's REST API.
    #[arg(long, env = "EGIZ_URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    /// A file with the bearer token to show; EGIZ_TOKEN may hold the token itself. On the program's own machine none is
    /// needed unless http.allow_anonymous is "never".
    #[arg(long, env = "EGIZ_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print the API's answer as JSON.
    #[arg(long)]
    json: bool,
}

/// What to do with devices. An id is `<site>:<name>`, or the name alone where there is one site.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum DeviceCommand {
    /// List the devices that may sign in to the broker.
    List(Remote),
    /// Show one device.
    Show {
        /// The device's id.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Enter a device and give it a password, which is printed this once.
    Add {
        /// The device's id.
        id: String,
        /// The Thing that it speaks for, if that has another id.
        #[arg(long)]
        thing: Option<String>,
        /// Enter it without a password: it cannot sign in yet.
        #[arg(long)]
        without_password: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give a device a new password, printed this once; the old one stops to work and its connections end.
    Password {
        /// The device's id.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a device's password away; its connections end.
    Withdraw {
        /// The device's id.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a device; its connections end, its Thing and what was recorded of it stay.
    Remove {
        /// The device's id.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// What to do with API tokens.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum TokenCommand {
    /// List the tokens.
    List(Remote),
    /// Make a token, which is printed this once.
    Add {
        /// Its name, the principal of what its bearer does.
        name: String,
        /// What its bearer may do: viewer, operator, admin or service.
        #[arg(long, value_parser = role)]
        role: TokenRole,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a token; what it opened ends.
    Remove {
        /// Its name.
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
}

fn role(text: &str) -> Result<TokenRole, String> {
    serde_json::from_value(text.into()).map_err(|_| "must be viewer, operator, admin or service".to_owned())
}

/// Does it, and returns what is to be printed.
///
/// # Errors
/// What the API refuses, in its words, or why it cannot be asked.
pub(crate) fn device(command: &DeviceCommand) -> anyhow::Result<String> {
    asking(async {
        match command {
            DeviceCommand::List(remote) => {
                let api = Api::new(remote)?;
                let mut devices = Vec::new();
                let mut cursor = None;
                loop {
                    let page: DevicePage = api.page("devices", cursor.as_deref()).await?;
                    devices.extend(page.items);
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                remote.print(&devices, || shown(&devices))
            }
            DeviceCommand::Show { id, remote } => {
                let device: Device =
                    Api::new(remote)?.ask(Method::GET, &["devices", id], None::<&()>).await?;
                remote.print(&device, || shown(std::slice::from_ref(&device)))
            }
            DeviceCommand::Add { id, thing, without_password, remote } => {
                let api = Api::new(remote)?;
                let new = NewDevice { device_id: id.clone(), thing_id: thing.clone() };
                let device: Device = api.ask(Method::POST, &["devices"], Some(&new)).await?;
                if *without_password {
                    return remote
                        .print(&device, || format!("{} is entered, without a password\n", device.device_id));
                }
                password(&api, remote, &device.device_id).await
            }
            DeviceCommand::Password { id, remote } => password(&Api::new(remote)?, remote, id).await,
            DeviceCommand::Withdraw { id, remote } => {
                Api::new(remote)?.tell(Method::DELETE, &["devices", id, "credentials"]).await?;
                remote.print(&(), || format!("{id} has no password any more\n"))
            }
            DeviceCommand::Remove { id, remote } => {
                Api::new(remote)?.tell(Method::DELETE, &["devices", id]).await?;
                remote.print(&(), || format!("{id} is removed\n"))
            }
        }
    })
}

/// Does it, and returns what is to be printed.
///
/// # Errors
/// As for [`device`].
pub(crate) fn token(command: &TokenCommand) -> anyhow::Result<String> {
    asking(async {
        match command {
            TokenCommand::List(remote) => {
                let api = Api::new(remote)?;
                let mut tokens: Vec<ApiToken> = Vec::new();
                let mut cursor = None;
                loop {
                    let page: ApiTokenPage = api.page("tokens", cursor.as_deref()).await?;
                    tokens.extend(page.items);
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                remote.print(&tokens, || {
                    let mut table = Table::new(["name", "role", "accepted", "made"]);
                    for token in &tokens {
                        let role = serde_json::to_value(token.role).unwrap_or_default();
                        let role = role.as_str().unwrap_or_default().to_owned();
                        table.row([
                            token.name.clone(),
                            role,
                            yes_no(token.enabled),
                            token.created.to_string(),
                        ]);
                    }
                    table.text("there are no tokens")
                })
            }
            TokenCommand::Add { name, role, remote } => {
                let new = NewApiToken { name: name.clone(), role: *role };
                let made: MadeApiToken = Api::new(remote)?.ask(Method::POST, &["tokens"], Some(&new)).await?;
                remote.print(&made, || format!("token     {}\nIt is shown this once.\n", made.token))
            }
            TokenCommand::Remove { name, remote } => {
                Api::new(remote)?.tell(Method::DELETE, &["tokens", name]).await?;
                remote.print(&(), || format!("{name} is removed\n"))
            }
        }
    })
}

async fn password(api: &Api, remote: &Remote, id: &str) -> anyhow::Result<String> {
    let given: Credential = api.ask(Method::POST, &["devices", id, "credentials"], None::<&()>).await?;
    remote.print(&given, || {
        format!(
            "user name {}\npassword  {}\nThe password is shown this once.\n",
            given.username, given.password
        )
    })
}

fn shown(devices: &[Device]) -> String {
    let mut table = Table::new(["device", "thing", "password", "may sign in", "entered"]);
    for device in devices {
        table.row([
            device.device_id.clone(),
            device.thing_id.clone(),
            yes_no(device.has_credential),
            yes_no(device.enabled),
            device.created.to_string(),
        ]);
    }
    table.text("there are no devices")
}

impl Remote {
    /// The program of a configuration.
    pub(crate) fn at(address: std::net::SocketAddr, token_file: Option<PathBuf>) -> Self {
        let url = Url::parse(&format!("http://{address}")).expect("an address and a port make one");
        Self { url, token_file, json: false }
    }

    fn print(&self, answer: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<String> {
        if self.json { Ok(serde_json::to_string_pretty(answer)? + "\n") } else { Ok(text()) }
    }
}

fn asking(work: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(work)
}

/// The REST API of the running program.
pub(crate) struct Api {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Api {
    pub(crate) fn new(remote: &Remote) -> anyhow::Result<Self> {
        anyhow::ensure!(
            remote.url.scheme() == "http",
            "--url {}: must begin with http://; where a proxy speaks https, run this on the program's own machine",
            remote.url
        );
        let token = match &remote.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            ),
            None => std::env::var("EGIZ_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let client = Client::builder().timeout(std::time::Duration::from_secs(30)).no_proxy().build()?;
        Ok(Self { client, url: remote.url.clone(), token })
    }

    /// Asks, with the parts of a path below `/api/v1/`.
    async fn send(
        &self,
        method: Method,
        parts: &[&str],
        more: Ask<'_, impl Serialize>,
    ) -> anyhow::Result<Vec<u8>> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("--url {}: has no path", self.url))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(parts);
        let mut request = self.client.request(method, url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(cursor) = more.cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        if let Some(body) = more.body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{} does not answer; is the program running there?", self.url))?;
        let status = response.status();
        let bytes = response.bytes().await.with_context(|| format!("{url}: half an answer"))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => anyhow::bail!("{}", told(&problem)),
            Err(_) => anyhow::bail!("{url} answers {status}; is that OpenEgiz?"),
        }
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        parts: &[&str],
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let bytes = self.send(method, parts, Ask { cursor: None, body }).await?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{} gives an answer of another version", self.url))
    }

    async fn page<T: DeserializeOwned>(&self, what: &str, cursor: Option<&str>) -> anyhow::Result<T> {
        let bytes = self.send(Method::GET, &[what], Ask { cursor, body: None::<&()> }).await?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{} gives an answer of another version", self.url))
    }

    async fn tell(&self, method: Method, parts: &[&str]) -> anyhow::Result<()> {
        self.send(method, parts, Ask { cursor: None, body: None::<&()> }).await.map(|_| ())
    }
}

/// What goes along with a request.
struct Ask<'a, B> {
    cursor: Option<&'a str>,
    body: Option<&'a B>,
}

/// A problem in one line: what it is, what happened, and which fields are at fault.
fn told(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.title, problem.detail);
    if problem.status == 401 || problem.status == 403 {
        text.push_str("; give a token with --token-file or EGIZ_TOKEN");
    }
    text
}
