//! Reads the arguments, takes the role they name, and ends with its exit code.

fn main() {}
