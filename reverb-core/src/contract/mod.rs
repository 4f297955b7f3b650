//! What every adapter promises, as tests that run against yours.
//!
//! A macro per trait makes one named test per promise. It is given an expression that is awaited once per test, and makes
//! an empty store that nobody else uses. The crate that calls it needs `tokio` with `macros` and `rt-multi-thread` among
//! its dev-dependencies, and `reverb-core` with the feature `contract`.
//!
//! ```
//! use reverb_core::app_store::MemoryApps;
//!
//! reverb_core::app_editor_contract!(async { MemoryApps::default() });
//! # fn main() {}
//! ```

pub mod app_editor;

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
            every_change_is_told_once_in_order,
            the_last_use_of_a_secret_goes_with_it_and_is_no_change,
            an_app_that_stays_the_same_is_the_same,
            names_are_told_apart_exactly,
            many_at_once_leave_one_winner_and_no_gap,
        );
    };
}
