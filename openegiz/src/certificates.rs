//! Renewing the broker's certificates while it runs, and saying so when one is broken or about to expire.
//!
//! The files are read again every ten seconds and on SIGHUP; contents count, not times, so that links that are swapped and
//! clocks that go back are no trouble. What cannot be used changes nothing but the log and /health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use egiz_broker::{Reload, Tls};
use egiz_server::Clock;
use egiz_service::health::Part;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How often certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long before a certificate's end health speaks of it.
const EXPIRY_NOTICE_S: i64 = 14 * DAY_S;
const DAY_S: i64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
}

/// What is counted of certificates.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateMetrics {
    /// `egiz_broker_certificate_reloads_total{result}`: files that had changed, `renewed` or `failed`.
    reloads: Family<Outcome, Counter>,
    /// `egiz_broker_certificate_expiry_timestamp_seconds{listener}`: when the certificate in use expires.
    expiry: Family<Listener, Gauge<i64, AtomicI64>>,
}

impl CertificateMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "egiz_broker_certificate_reloads",
            "Certificate files that had changed",
            metrics.reloads.clone(),
        );
        registry.register(
            "egiz_broker_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires",
            metrics.expiry.clone(),
        );
        metrics
    }

    fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&Outcome { result }).inc();
    }
}

/// Takes SIGHUP where there is no certificate: by itself the signal would end the program, and scripts that renew certificates
/// send it to everything.
///
/// # Errors
/// Where the system gives no signal handler.
pub(crate) async fn nothing_to_renew(stop: CancellationToken) -> anyhow::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = hang_up.recv() => tracing::info!("SIGHUP: no listener has a certificate to read again"),
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Looks at certificates again and again.
pub(crate) struct Watch {
    /// The listeners with TLS.
    pub(crate) watched: Vec<(SocketAddr, Arc<Tls>)>,
    pub(crate) clock: Clock,
    pub(crate) part: Part,
    pub(crate) metrics: CertificateMetrics,
}

impl Watch {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// Where the system gives no signal handler.
    pub(crate) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut hang_up = signal(SignalKind::hangup())?;
        // What was said of each listener, so that it is said once.
        let mut said = vec![None; self.watched.len()];
        loop {
            self.look(&mut said).await?;
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = hang_up.recv() => tracing::info!("looking at certificates because of SIGHUP"),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn look(&self, said: &mut [Option<String>]) -> anyhow::Result<()> {
        let mut complaints = Vec::new();
        for ((address, tls), said) in self.watched.iter().zip(said) {
            let reloading = Arc::clone(tls);
            let result = tokio::task::spawn_blocking(move || reloading.reload()).await?;
            let problem = match &result {
                Err(error) => Some(format!("{error}; the certificate loaded before stays in use")),
                Ok(_) => self.expires_soon(tls),
            };
            if matches!(result, Ok(Reload::Renewed)) {
                self.metrics.reloaded("renewed");
                tracing::info!(%address, "new connections get the renewed certificate");
            }
            if problem != *said
                && let Some(problem) = &problem
            {
                if result.is_err() {
                    self.metrics.reloaded("failed");
                }
                tracing::warn!(%address, "{problem}");
            }
            let expiry =
                self.metrics.expiry.get_or_create(&Listener { listener: address.to_string() }).clone();
            expiry.set(tls.expires_s());
            complaints.extend(problem.iter().map(|problem| format!("{address}: {problem}")));
            *said = problem;
        }
        if complaints.is_empty() {
            self.part.up();
        } else {
            self.part.degraded(complaints.join("; "));
        }
        Ok(())
    }

    fn expires_soon(&self, tls: &Tls) -> Option<String> {
        let left_s = tls.expires_s() - (self.clock)().as_micros() / 1_000_000;
        let path = tls.files().certificate.display();
        match left_s {
            ..=0 => Some(format!("{path} has expired")),
            1..EXPIRY_NOTICE_S => Some(format!("{path} expires in {} days", left_s / DAY_S)),
            _ => None,
        }
    }
}
