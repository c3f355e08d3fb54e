//! The service from outside: signals, which concern the whole process.

#[cfg(unix)]
mod signals;
