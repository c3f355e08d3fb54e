//! What every role needs: config, logs, metrics, supervision, shutdown.
