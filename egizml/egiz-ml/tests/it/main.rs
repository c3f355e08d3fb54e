//! The methods against published libraries' numbers, and against naive models of themselves.

mod hostile;
mod learning;
mod reference;
mod shares;
