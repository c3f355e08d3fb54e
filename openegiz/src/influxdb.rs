//! Every sample of history to an InfluxDB besides: the section `influxdb` of the configuration, docs/influxdb.md.
//!
//! ```text
//!  journal ──► own engine, own place on disk ──► lines ──► POST /write, as long as it takes
//! ```
//!
//! A consumer of the journal like history, yet apart from it: it may be hours behind, and neither the live state nor history nor
//! an acknowledgement waits for it. It refuses to read from an InfluxDB, and to make databases there.

mod client;
mod format;
mod hold;
mod metrics;
mod naming;
mod place;
mod report;
mod shadow;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use egiz_journal::{FileJournal, Journal};
use egiz_service::RandomSource;
use egiz_service::config::{Config, ConfigErrors, InfluxApi, Loaded};
use egiz_service::health::Part;
use egiz_twin::Engine;
use hyper::Uri;
use parking_lot::RwLock;
use reqwest::Url;

use client::{Client, ClientSettings, SignIn};
use naming::NamingRules;
use place::Place;
use report::Reporter;

pub(crate) use hold::Hold;
pub(crate) use metrics::InfluxdbMetrics;
pub(crate) use writer::{OnMoved, Writer};

const URL_ALLOWED: &str =
    "an address such as \"http://influxdb.plant.lan:8086\" or \"https://…\", without a user";

/// What the configuration says of an InfluxDB, understood.
#[derive(Debug, Clone)]
pub(crate) struct Influxdb {
    client: ClientSettings,
    /// For people: without parameters.
    address: String,
}

/// What the writer is given by the program.
pub(crate) struct Surroundings {
    pub(crate) journal: Arc<FileJournal>,
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) clock: egiz_server::Clock,
    pub(crate) random: RandomSource,
    pub(crate) metrics: InfluxdbMetrics,
    pub(crate) part: Part,
}

impl Influxdb {
    /// Puts the section to the test: address and files, which are read. Nothing where there is no address.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn check(loaded: &Loaded) -> Result<Option<Self>, ConfigErrors> {
        let settings = &loaded.config.influxdb;
        let Some(url) = &settings.url else { return Ok(None) };
        // A password may have been written there.
        let shown = || url.rsplit_once('@').map_or(format!("{url:?}"), |(_, host)| format!("\"…@{host}\""));
        let fault = |key: &str, shown: String, problem: String, allowed: &str| ConfigErrors {
            errors: vec![loaded.fault(key, shown, problem, allowed.to_owned())],
        };
        let (uri, address) = target(url, &loaded.config)
            .map_err(|problem| fault("influxdb.url", shown(), problem, URL_ALLOWED))?;
        let sign_in = match (&settings.token_file, &settings.username) {
            (Some(file), _) => SignIn::Token(file.clone()),
            (None, Some(name)) => {
                SignIn::User { name: name.clone(), password_file: settings.password_file.clone() }
            }
            (None, None) => SignIn::Nobody,
        };
        if let Err(problem) = sign_in.header() {
            let (key, path) = match &sign_in {
                SignIn::Token(path) => ("influxdb.token_file", Some(path)),
                _ => ("influxdb.password_file", settings.password_file.as_ref()),
            };
            let shown = format!("{:?}", path.map(|path| path.display().to_string()).unwrap_or_default());
            let allowed = "a readable file with 1 to 1024 bytes, of a token in printable ASCII";
            return Err(fault(key, shown, format!("cannot be used: {problem}"), allowed));
        }
        let client = ClientSettings {
            uri,
            sign_in,
            ca_file: settings.ca_file.clone(),
            timeout: Duration::from_secs(settings.timeout_s),
        };
        if let Err(error) = Client::new(client.clone()) {
            let shown = settings.ca_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            let problem = format!("cannot be used: {error:#}");
            let allowed = "a readable file with certificates in PEM";
            return Err(fault("influxdb.ca_file", format!("{shown:?}"), problem, allowed));
        }
        Ok(Some(Self { client, address }))
    }

    /// Makes the writer, and its place in the journal at the very first start: what comes from now on is written.
    ///
    /// # Errors
    /// Where its folder cannot be used.
    pub(crate) fn prepare(
        self,
        config: &Config,
        surroundings: Surroundings,
    ) -> anyhow::Result<(Arc<Writer>, Arc<Hold>)> {
        let Surroundings { journal, engine, clock, random, metrics, part } = surroundings;
        let place = Place::open(&config.data.dir)?;
        let from = first_place(&place, &engine).context("the folder influxdb cannot be used")?;
        let total = config.journal.max_total_bytes;
        let settings = &config.influxdb;
        let bytes_max =
            if settings.max_behind_bytes == 0 { total / 4 * 3 } else { settings.max_behind_bytes };
        let hold = Arc::new(Hold::new(Arc::clone(&journal), from, bytes_max, total));
        tracing::info!(influxdb = self.address, from, "everything is written to an InfluxDB as well");
        let writer = Writer {
            journal: journal as Arc<dyn Journal>,
            engine,
            limits: crate::start::limits(config),
            rules: NamingRules {
                site: config.site.name.clone(),
                device_tags: config.influx.device_tags.clone(),
            },
            place,
            hold: Arc::clone(&hold),
            client: Client::new(self.client)?,
            batch_lines: settings.batch_lines,
            flush_interval: Duration::from_millis(settings.flush_interval_ms),
            clock,
            random,
            metrics,
            reporter: Reporter::new(part, self.address),
        };
        Ok((Arc::new(writer), hold))
    }
}

/// From where on the journal is needed. At the very first start that is the live engine's place, which is noted.
fn first_place(place: &Place, engine: &RwLock<Engine>) -> std::io::Result<egiz_model::Offset> {
    let found = place.find()?;
    if let Some(snapshot) = found.snapshot {
        return Ok(snapshot.next_offset);
    }
    if found.next == 0 && found.damaged.is_empty() {
        let live = writer::live_snapshot(engine);
        place.begin(live.next_offset, live.engine)?;
        return Ok(live.next_offset);
    }
    Ok(found.next)
}

/// Where lines go to, and the same for people.
fn target(url: &str, config: &Config) -> Result<(Uri, String), String> {
    let settings = &config.influxdb;
    let mut url = Url::parse(url).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme {}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "names a user; that is what influxdb.username and influxdb.password_file are for".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has parameters; the database is influxdb.database".to_owned());
    }
    let address = url.as_str().trim_end_matches('/').to_owned();
    {
        let path: &[&str] = match settings.api {
            InfluxApi::One => &["write"],
            InfluxApi::Two => &["api", "v2", "write"],
        };
        let mut segments = url.path_segments_mut().map_err(|()| "has no host".to_owned())?;
        segments.pop_if_empty().extend(path);
    }
    {
        let mut query = url.query_pairs_mut();
        match settings.api {
            InfluxApi::One => {
                query.append_pair("db", &settings.database);
                if let Some(policy) = &settings.retention_policy {
                    query.append_pair("rp", policy);
                }
                query.append_pair("precision", "u");
            }
            InfluxApi::Two => {
                if let Some(org) = &settings.org {
                    query.append_pair("org", org);
                }
                query.append_pair("bucket", settings.bucket.as_deref().unwrap_or_default());
                query.append_pair("precision", "us");
            }
        }
    }
    let uri = url.as_str().parse().map_err(|error| format!("is no address: {error}"))?;
    Ok((uri, address))
}

#[cfg(test)]
mod tests;
