//! What every adapter promises, as tests that run against yours.
//!
//! A macro per trait makes one named test per promise, and two more do for queues that are bounded, or shared. Each is given
//! an expression that is awaited once per test, and makes an empty store that nobody else uses. [`killed`] is for queues that
//! outlive a process, and [`pace`] measures them. The crate that calls them needs `tokio` with `macros` and
//! `rt-multi-thread` among its dev-dependencies, and `reverb-core` with the feature `contract`.
//!
//! ```
//! use reverb_core::app_store::MemoryApps;
//!
//! reverb_core::app_editor_contract!(async { MemoryApps::default() });
//! # fn main() {}
//! ```

pub mod app_editor;
pub mod killed;
pub mod pace;
pub mod queue;

#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($module:ident, $connect:expr, $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let subject = ($connect).await;
                $crate::contract::$module::$promise(subject).await;
            }
        )+
    };
}

/// One test per promise of [`AppEditor`](crate::app_store::AppEditor), against an empty store that the expression makes.
#[macro_export]
macro_rules! app_editor_contract {
    ($connect:expr) => {
        $crate::contract_tests!(
            app_editor,
            $connect,
            what_was_created_is_found_and_listed,
            everything_that_was_saved_comes_back,
            an_id_and_a_key_belong_to_one_app,
            a_changed_key_is_found_and_the_old_one_is_not,
            what_was_removed_is_gone_and_its_key_is_free,
            what_somebody_else_has_changed_is_not_overwritten,
            a_list_comes_in_pages_and_in_order,
            a_number_stays_with_its_app_and_is_nobody_elses,
            every_change_is_told_once_in_order,
            an_announcement_concerns_all_and_changes_none,
            the_last_use_of_a_secret_goes_with_it_and_is_no_change,
            secrets_that_are_kept_well_are_left_alone,
            an_app_that_stays_the_same_is_the_same,
            names_are_told_apart_exactly,
            many_at_once_leave_one_winner_and_no_gap,
        );
    };
}

/// One test per promise of [`Queue`](crate::queue::Queue), against an empty queue that the expression makes. Those that
/// need time take a few seconds, all of them at the same time.
#[macro_export]
macro_rules! queue_contract {
    ($connect:expr) => {
        $crate::contract_tests!(
            queue,
            $connect,
            a_job_is_leased_to_one_worker_and_finished,
            every_payload_comes_back_to_the_byte,
            the_largest_job_there_may_be_is_taken,
            what_has_been_due_longest_comes_first,
            a_delayed_job_comes_when_it_is_due,
            only_the_kinds_that_were_asked_for_are_leased,
            a_lease_that_ran_out_is_lost_to_the_next_worker,
            late_work_counts_while_nobody_else_has_the_job,
            an_extended_lease_lasts_longer,
            a_job_that_fails_comes_again_and_is_dead_in_the_end,
            a_worker_that_goes_away_on_the_last_attempt_leaves_a_dead_letter,
            any_length_of_time_is_taken,
            many_workers_do_every_job_once,
            a_buried_job_is_dead_at_once_and_says_why,
            dead_letters_come_in_pages_and_in_order,
            a_revived_job_begins_again,
            purged_dead_letters_are_gone_and_nothing_else_is,
            what_is_unknown_or_alive_is_neither_revived_nor_purged,
            no_id_is_given_twice,
        );
    };
}

/// One test per promise of a [`Queue`](crate::queue::Queue) that is bounded, against an empty one that the expression makes, for
/// two jobs and beside them two dead letters.
#[macro_export]
macro_rules! bounded_queue_contract {
    ($connect:expr) => {
        $crate::contract_tests!(
            queue,
            $connect,
            a_full_queue_refuses_until_there_is_room,
            of_too_many_dead_letters_those_that_died_first_are_dropped,
        );
    };
}

/// One test per promise of a [`Queue`](crate::queue::Queue) that others use too. The expression makes an async closure, which
/// opens a queue that is empty at first, and the same one at each call.
#[macro_export]
macro_rules! shared_queue_contract {
    ($connect:expr) => {
        $crate::contract_tests!(
            queue,
            $connect,
            what_was_pushed_is_there_when_it_is_opened_again_and_the_numbers_go_on,
            two_nodes_share_the_work,
        );
    };
}
