//! The embedded MQTT broker: acknowledges a publish only after it is durable.
