//! Builds the init program for embedding.

fn main() {}
