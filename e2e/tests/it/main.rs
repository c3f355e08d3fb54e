//! The shipped program, tried from outside with real clients.

mod backup;
mod bridge;
mod corrections;
mod crash;
mod disk;
mod external;
mod first_steps;
mod history;
mod hostile;
mod influx;
mod influxdb;
mod listeners;
mod manage;
mod open_files;
mod outage;
mod playback;
mod restart;
mod rights;
mod sessions;
mod vision;
