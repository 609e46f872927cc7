//! The store's suite: every test runs on SQLite and on a real PostgreSQL.

// Tests fail by panicking.
#![allow(clippy::unwrap_used, missing_docs)]

mod backend;
mod commits;
mod crypto;
mod keys;
mod links;
mod machine;
mod notes;
mod portals;
#[path = "../testkit/postgres.rs"]
mod postgres;
mod rest;
mod samples;
mod spare;
mod stolen;
mod suite;

/// Declares each test once for each backend.
macro_rules! on_each_backend {
    ($($module:ident :: { $($name:ident),+ $(,)? })+) => {
        mod on_sqlite {
            $($(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::backend::Backend::sqlite()).await;
            })+)+
        }
        mod on_postgres {
            $($(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::backend::Backend::postgres().await).await;
            })+)+
        }
    };
}

on_each_backend! {
    commits::{
        inbox_keeps_order_and_content,
        inbox_goes_on_after_reopening,
        concurrent_pushes_are_all_there_in_order,
        links_are_found_by_either_end,
        first_link_of_a_source_stays,
        handled_finds_exactly_the_known,
        commit_removes_what_is_done,
        concurrent_commits_are_all_there,
        failed_commit_acknowledges_nothing,
        old_links_are_pruned,
        closed_store_refuses,
    }
    links::{
        links_are_found_before_and_after_merging,
        first_link_stays_across_merges,
        replaced_link_is_the_only_one,
        concurrent_replacements_leave_one,
        links_survive_a_crash_before_merging,
        merging_again_changes_nothing,
        merge_that_ended_midway_is_completed,
        many_links_are_merged_meanwhile,
        failed_merge_loses_nothing,
        forgetting_spares_other_links,
        links_are_pruned_merged_or_not,
    }
    portals::{
        portal_is_created_once,
        concurrent_creations_make_one_portal,
        routes_lead_to_portals,
        upgrade_moves_the_route,
        forgetting_leaves_nothing_but_the_hash,
        forgotten_portal_is_not_brought_back,
        forgetting_twice_makes_one_escrow,
        escrow_ends,
        forgetting_erases_the_bytes,
    }
    rest::{
        users_start_new_and_are_changed,
        concurrent_changes_of_a_user_all_count,
        mirrors_are_kept_by_member,
        held_messages_are_found_by_question,
        jobs_come_in_the_order_they_are_due,
        a_job_that_two_change_is_changed_by_both,
        counts_and_ping,
        connections_that_were_cut_are_made_anew,
    }
    keys::{
        wrong_master_key_is_refused,
        everything_survives_reopening,
        moved_cells_do_not_open,
        rotation_keeps_everything_and_shuts_the_old_key_out,
        rotation_is_refused_while_in_use,
        send_ids_are_stable,
    }
    crypto::{
        keys_survive_a_crash,
        no_index_is_read_twice,
        kept_sessions_are_forgotten_when_they_change,
        heard_steps_survive_a_crash,
        machine_comes_back,
        next_device_has_the_same_identity,
        destroyed_keys_leave_nothing,
        a_destroyed_device_leaves_nothing_of_its_own,
        moved_keys_do_not_open,
        hashes_of_messages_are_bounded,
        sharing_leaves_one_list_without_requests,
        keys_take_little_room,
    }
    spare::{
        olm_sessions_are_bounded,
        notices_are_bounded,
        bundles_are_bounded,
    }
    notes::{
        notes_are_found_by_kind_and_key,
        a_note_is_added_once,
        a_note_that_is_gone_is_not_amended,
        concurrent_changes_of_a_note_all_count,
        due_notes_go,
    }
    stolen::{
        stolen_database_says_nothing,
    }
}
