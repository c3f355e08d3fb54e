//! HTTP, WebSocket and server-sent events over the twin engine.
