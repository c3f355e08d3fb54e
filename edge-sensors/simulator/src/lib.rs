//! A food factory of simulated sensor nodes with physics-like signals and developing faults.
