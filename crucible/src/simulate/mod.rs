//! The engine in a world that one seed determines: clients, schedule, faults, maintenance, crashes.
//!
//! A seed gives a [`Plan`]: options with tiny [`Sizes`](strata_core::Sizes), and a list of [steps](action). A
//! [`World`] runs it on a file system in memory, in one thread: maintenance and syncs are steps, and a client that has to
//! wait stays pending while others go on. A plain multi-version map, the [`model`], says what must hold:
//!
//! - a snapshot shows the state of its commit, with the transaction's own writes and nothing else, for as long as it is held;
//! - rows locked are as the last commit left them; an error is one that the state [excuses](excuse);
//! - its catalog names what it should: schemas, tables, views and indexes, with their definitions, found by id and by name;
//! - what a SERIALIZABLE transaction has read is as it was when it commits;
//! - unique keys, NOT NULL, indexes, counts and the statistics of frozen segments agree with the rows;
//! - after a crash some prefix of the commits is there, with all that anybody saw or was told of; time never goes back;
//! - `check` finds nothing, and whoever waits is woken; whoever is alone at the end can commit.
//!
//! **DDL** happens at all levels ([`define`], [`columns`], [`objects`]; who reads by which catalog is in [`open`]):
//!
//! | what | sees | errors that are right |
//! |---|---|---|
//! | a statement, before the transaction's own DDL | rows and catalog of its snapshot: a table that was truncated, dropped or altered since is as it was | |
//! | the same, after it | rows of its snapshot by the newest catalog; a heap that is newer has none of them | |
//! | an index build | the newest rows, whatever the snapshot | `DuplicateKey`, `NotNull`, `TooLarge` for those |
//! | NOT NULL, a primary key, ADD COLUMN NOT NULL | the newest rows, and above READ COMMITTED those of the snapshot by the newest catalog too | NULL in either |
//! | a name | the newest catalog, whatever the snapshot | `AlreadyExists`, `NotFound`, a schema that is not empty |
//! | an INSERT, UPDATE or DELETE | the newest definition; above READ COMMITTED none where the snapshot knows another | |
//!
//! [`sweep`] crashes at every point of one run. The same seed gives the same trace, and a [`Tally`] of what was done in it. A failing run is [shrunk](shrink) by leaving steps out.

mod action;
mod catalog;
mod client;
mod columns;
mod crash_points;
mod define;
mod excuse;
mod filter;
mod forms;
mod load;
mod model;
mod objects;
mod open;
mod plan;
mod probe;
mod reads;
mod refusal;
mod run;
mod schema;
mod shrink;
mod statement;
mod stop;
mod tally;
mod verify;
mod watch;
mod watchdog;
mod world;

pub use crash_points::{Swept, sweep};
pub use run::{Failure, Run, STEPS, run_seed, shrink_seed};
pub use tally::{Did, Tally};
