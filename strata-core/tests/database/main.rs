//! The engine through its public face: durability, transactions, savepoints.

mod common;
mod dropped;
mod durability;
mod full_disk;
mod gate;
mod hooked;
mod intercepted;
mod loads;
mod loads_and_maintenance;
mod moves;
mod own_index;
mod own_versions;
mod replay;
mod row_locks;
mod savepoints;
mod serializable;
mod small_memory;
mod snapshot_ddl;
mod spilled;
mod spilled_indexes;
mod spilled_random;
mod spilled_views;
mod stale_definitions;
mod transactions;
mod traps;
mod upkeep;
