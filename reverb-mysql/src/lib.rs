//! Apps.

mod laravel;

pub use laravel::{InvalidLaravelKey, LaravelKeys, NotDecrypted};
