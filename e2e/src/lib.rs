//! Black-box tests over the shipped program, with real clients.
