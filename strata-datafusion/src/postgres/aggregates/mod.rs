//! Aggregates whose results Postgres types differently: `sum(bigint)` is numeric and does not wrap, `avg` is exact for
//! exact numbers.

mod distinct;
mod mean;
mod sum;
mod widened;

pub(crate) use distinct::DistinctToGroups;
pub(crate) use mean::AggregatePlanner;
pub(crate) use sum::sum;
