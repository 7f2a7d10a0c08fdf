//! Isolation: concurrent clients of the engine, what they were told, and a checker that finds what their level forbids.
//!
//! | file | what it holds |
//! |---|---|
//! | `history` | transactions as clients saw them |
//! | `anomaly` | the phenomena, and which levels forbid them |
//! | `writes`, `orders`, `reads` | who wrote what, in which order, and who saw it |
//! | `graph`, `components`, `cycles` | dependencies, and the cycles in them |
//! | `checker` | the above, put together |
//! | `request`, `tables`, `client`, `heap_scan` | statements on the real engine |
//! | `workload`, `run`, `report` | what is asked, by whom, for how long, and what came of it |
//! | `faults` | clients that are wrong on purpose |

pub mod anomaly;
pub mod checker;
pub mod client;
pub mod components;
pub mod cycles;
pub mod faults;
pub mod graph;
mod heap_scan;
pub mod history;
pub mod orders;
pub mod reads;
pub mod report;
pub mod request;
pub mod run;
pub mod tables;
pub mod workload;
pub mod writes;

#[cfg(test)]
mod tests;
