//! Vizard between two real homeservers: joining, talking both ways, the leak audit, and what must not break.
//!
//! Users of A are masked by the Vizard of A; their room lives on B. B has no Vizard unless a test says so; those of
//! encryption do, and there B gives hints.

#[path = "../testkit/mod.rs"]
mod testkit;

mod commands;
mod conversation;
mod crash;
mod encrypted;
mod encrypted_crash;
mod encrypted_crowd;
mod encrypted_cut;
mod encrypted_devices;
mod encrypted_files;
mod encrypted_hints;
mod encrypted_late;
mod encrypted_loss;
mod encrypted_nio;
mod encrypted_pruned;
mod encrypted_rollback;
mod encrypted_share;
mod encrypted_state;
mod encrypted_traces;
mod files;
mod invite_attacks;
mod invite_oracle;
mod invites;
mod olm;
mod ratchets;
mod rooms;
mod stranger;
mod unseen;
mod world;
