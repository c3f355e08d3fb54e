//! OpenEgiz: every machine of a factory as a live twin, in one program that needs no server beside it.
//!
//! This crate introduces the rooms to each other and holds what only the program may do: read the environment, choose the
//! clock and the random source, start long-lived tasks, decide where files lie.

mod acceptor;
mod acl;
mod archive;
mod backup;
mod caretaker;
mod certificates;
mod cli;
mod correlation;
mod door;
mod elsewhere;
mod gate;
mod history;
mod influxdb;
mod intake;
mod lines;
mod listeners;
mod manage;
mod metrics;
mod ml;
mod pipeline;
mod plant;
mod projection;
mod report;
mod retained;
mod snapshot;
mod start;
mod surroundings;
mod up;

/// Messages make many small allocations that die together; this allocator takes them at less than the system's cost and
/// gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before the first thread, so that the heap never begins with one.
    #[cfg(target_os = "linux")]
    surroundings::refuse_huge_pages();
    cli::run()
}
