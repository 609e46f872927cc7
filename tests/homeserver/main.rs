#[path = "../testkit/fake/mod.rs"]
mod fake;
