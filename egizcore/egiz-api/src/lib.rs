//! The outside contract: every type that crosses HTTP and WebSocket.
