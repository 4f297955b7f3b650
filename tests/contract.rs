//! What every adapter promises, of those in memory.

use reverb_core::app_store::MemoryApps;

reverb_core::app_editor_contract!(async { MemoryApps::default() });
