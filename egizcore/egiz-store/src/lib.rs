//! The registry in SQL: Things, templates, devices and credentials.
