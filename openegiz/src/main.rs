//! OpenEgiz: the program.

fn main() {}
