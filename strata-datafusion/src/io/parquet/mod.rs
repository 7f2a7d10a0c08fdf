//! Apache Parquet.
//!
//! | Postgres | Parquet |
//! |---|---|
//! | boolean, smallint, integer, bigint, real, double precision | BOOLEAN, INT(16), INT32, INT64, FLOAT, DOUBLE |
//! | numeric(p, s) | DECIMAL(p, s) |
//! | text and what is like it, json | STRING |
//! | bytea | BYTE_ARRAY |
//! | date, time | DATE, TIME(MICROS) |
//! | timestamp, timestamptz | TIMESTAMP(MICROS), adjusted to UTC or not |
//! | uuid | UUID |
//! | interval | STRING: Parquet's has milliseconds |
//! | arrays | LIST |

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::ParquetEncoder;

#[cfg(test)]
mod tests;
