//! The shipped program, tried from outside with real clients.

mod crash;
mod first_steps;
mod hostile;
mod restart;
mod vision;
