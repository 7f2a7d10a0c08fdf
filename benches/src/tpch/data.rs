//! The data: CSV files by tpchgen, and Parquet files of the same rows by DataFusion.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use datafusion::prelude::{SessionConfig, SessionContext};
use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use super::queries::columns;
use crate::Failure;
use crate::measure::disk_bytes;

/// The tables, small ones first.
pub const TABLES: [&str; 8] =
    ["region", "nation", "supplier", "part", "customer", "partsupp", "orders", "lineitem"];

/// A table's CSV file.
pub fn csv(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{table}.csv"))
}

/// A table's Parquet file.
pub fn parquet(folder: &Path, table: &str) -> PathBuf {
    folder.join(format!("{table}.parquet"))
}

/// Generates what is not there yet. The folder remembers its scale.
///
/// # Errors
/// Where it holds another scale, or cannot be written.
pub fn generate(folder: &Path, scale: f64) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mark = folder.join("scale");
    match std::fs::read_to_string(&mark) {
        Ok(found) if found == scale.to_string() => {}
        Ok(found) => return Err(format!("{} holds scale {found}", folder.display()).into()),
        Err(_) => std::fs::write(&mark, scale.to_string())?,
    }
    macro_rules! table {
        ($name:literal, $generator:ident, $csv:ident) => {
            write_csv(
                &csv(folder, $name),
                $csv::header(),
                $generator::new(scale, 1, 1).iter().map($csv::new),
            )?
        };
    }
    table!("region", RegionGenerator, RegionCsv);
    table!("nation", NationGenerator, NationCsv);
    table!("supplier", SupplierGenerator, SupplierCsv);
    table!("part", PartGenerator, PartCsv);
    table!("customer", CustomerGenerator, CustomerCsv);
    table!("partsupp", PartSuppGenerator, PartSuppCsv);
    table!("orders", OrderGenerator, OrderCsv);
    table!("lineitem", LineItemGenerator, LineItemCsv);
    Ok(())
}

/// Written under another name first, so that a file with its own name is whole.
fn write_csv(path: &Path, header: &str, rows: impl Iterator<Item = impl Display>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    let mut output = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    writeln!(output, "{header}")?;
    for row in rows {
        writeln!(output, "{row}")?;
    }
    output.into_inner().map_err(|error| error.into_error())?;
    std::fs::rename(partial, path)
}

/// Writes the Parquet files that are not there yet, compressed with snappy.
///
/// # Errors
/// Where DataFusion cannot read or write.
pub async fn write_parquet(folder: &Path) -> Result<(), Failure> {
    // One partition, so that a table is one file in the order of its rows.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for table in TABLES {
        let target = parquet(folder, table);
        if target.exists() {
            continue;
        }
        let columns = columns(table).ok_or("the schema lacks a table")?;
        let create = format!(
            "CREATE EXTERNAL TABLE {table} ({columns}) STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')",
            csv(folder, table).display()
        );
        context.sql(&create).await?;
        let partial = folder.join(format!("partial-{table}.parquet"));
        let copy = format!(
            "COPY {table} TO '{}' STORED AS PARQUET OPTIONS ('format.compression' 'snappy')",
            partial.display()
        );
        context.sql(&copy).await?.collect().await?;
        std::fs::rename(partial, target)?;
    }
    Ok(())
}

/// What the Parquet files occupy.
///
/// # Errors
/// Where one is missing.
pub fn parquet_bytes(folder: &Path) -> io::Result<u64> {
    TABLES.iter().map(|table| disk_bytes(&parquet(folder, table))).sum()
}
