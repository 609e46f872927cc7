//! The test kit's own tests: a tool that finds nothing must be shown to find something.

#[path = "../testkit/mod.rs"]
mod testkit;
#[path = "../../examples/demo/verdict.rs"]
mod verdict;

mod audit;
mod e2ee;
mod servers;
mod vizard;
