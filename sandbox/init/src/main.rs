//! Applies the operations of a sandbox.

fn main() {}
