//! What every adapter promises, of those in memory.

use reverb_core::app_store::MemoryApps;
use reverb_core::queue::MemoryQueue;

reverb_core::app_editor_contract!(async { MemoryApps::default() });
reverb_core::queue_contract!(async { MemoryQueue::default() });
reverb_core::bounded_queue_contract!(async { MemoryQueue::new(2) });
