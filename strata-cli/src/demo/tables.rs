//! The eight tables of TPC-H: their definitions, and their rows as CSV.

use std::fmt::{Display, Write as _};

use bytes::Bytes;
use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSupp,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};

/// How much is sent at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A table.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static str,
    /// Its primary key.
    pub key: &'static str,
    /// How many rows it has at scale 1; lineitem's number is near that.
    pub rows_at_one: f64,
    /// Whether it is the same size at every scale.
    pub is_fixed: bool,
    /// Its rows at a scale.
    pub chunks: fn(f64) -> Chunks,
}

impl Table {
    /// About how many rows it has at a scale.
    pub fn rows(&self, scale: f64) -> f64 {
        self.rows_at_one * if self.is_fixed { 1.0 } else { scale }
    }
}

/// CSV text and how many rows it holds, cut at row ends.
pub type Chunks = Box<dyn Iterator<Item = (Bytes, u64)> + Send>;

fn chunks<R: Display>(mut rows: impl Iterator<Item = R> + Send + 'static) -> Chunks {
    Box::new(std::iter::from_fn(move || {
        let (mut text, mut count) = (String::with_capacity(CHUNK_BYTES + 512), 0);
        while text.len() < CHUNK_BYTES {
            let Some(row) = rows.next() else { break };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{row}");
            count += 1;
        }
        (count > 0).then(|| (Bytes::from(text), count))
    }))
}

/// TPC-H's formula gives a part the same supplier twice where there are very few: below scale 0.01 the key would not hold.
fn each_supplier_once<'a>(rows: impl Iterator<Item = PartSupp<'a>>) -> impl Iterator<Item = PartSupp<'a>> {
    let mut part = None;
    let mut suppliers = Vec::new();
    rows.filter(move |row| {
        if part.replace(row.ps_partkey) != Some(row.ps_partkey) {
            suppliers.clear();
        }
        let is_new = !suppliers.contains(&row.ps_suppkey);
        suppliers.push(row.ps_suppkey);
        is_new
    })
}

/// The columns of lineitem, of which the demo makes a second table.
pub const LINEITEM_COLUMNS: &str = "l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
     l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
     l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
     l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
     l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, \
     l_comment varchar(44) NOT NULL";

/// All of them, small ones first.
pub const TABLES: [Table; 8] = [
    Table {
        name: "region",
        columns: "r_regionkey integer NOT NULL, r_name char(25) NOT NULL, r_comment varchar(152)",
        key: "r_regionkey",
        rows_at_one: 5.0,
        is_fixed: true,
        chunks: |scale| chunks(RegionGenerator::new(scale, 1, 1).iter().map(RegionCsv::new)),
    },
    Table {
        name: "nation",
        columns: "n_nationkey integer NOT NULL, n_name char(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152)",
        key: "n_nationkey",
        rows_at_one: 25.0,
        is_fixed: true,
        chunks: |scale| chunks(NationGenerator::new(scale, 1, 1).iter().map(NationCsv::new)),
    },
    Table {
        name: "supplier",
        columns: "s_suppkey bigint NOT NULL, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, \
             s_nationkey integer NOT NULL, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, \
             s_comment varchar(101) NOT NULL",
        key: "s_suppkey",
        rows_at_one: 1e4,
        is_fixed: false,
        chunks: |scale| chunks(SupplierGenerator::new(scale, 1, 1).iter().map(SupplierCsv::new)),
    },
    Table {
        name: "customer",
        columns: "c_custkey bigint NOT NULL, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, \
             c_nationkey integer NOT NULL, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, \
             c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL",
        key: "c_custkey",
        rows_at_one: 1.5e5,
        is_fixed: false,
        chunks: |scale| chunks(CustomerGenerator::new(scale, 1, 1).iter().map(CustomerCsv::new)),
    },
    Table {
        name: "part",
        columns: "p_partkey bigint NOT NULL, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, \
             p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size integer NOT NULL, \
             p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL",
        key: "p_partkey",
        rows_at_one: 2e5,
        is_fixed: false,
        chunks: |scale| chunks(PartGenerator::new(scale, 1, 1).iter().map(PartCsv::new)),
    },
    Table {
        name: "partsupp",
        columns: "ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL, ps_availqty integer NOT NULL, \
             ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL",
        key: "ps_partkey, ps_suppkey",
        rows_at_one: 8e5,
        is_fixed: false,
        chunks: |scale| {
            chunks(each_supplier_once(PartSuppGenerator::new(scale, 1, 1).iter()).map(PartSuppCsv::new))
        },
    },
    Table {
        name: "orders",
        columns: "o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus char(1) NOT NULL, \
             o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, \
             o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL",
        key: "o_orderkey",
        rows_at_one: 1.5e6,
        is_fixed: false,
        chunks: |scale| chunks(OrderGenerator::new(scale, 1, 1).iter().map(OrderCsv::new)),
    },
    Table {
        name: "lineitem",
        columns: LINEITEM_COLUMNS,
        key: "l_orderkey, l_linenumber",
        rows_at_one: 6e6,
        is_fixed: false,
        chunks: |scale| chunks(LineItemGenerator::new(scale, 1, 1).iter().map(LineItemCsv::new)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_as_many_values_a_row_as_columns() {
        for table in &TABLES {
            let (text, _) = (table.chunks)(0.001).next().expect("rows");
            let text = String::from_utf8(text.to_vec()).unwrap();
            let first = text.lines().next().unwrap();
            // Every second piece is quoted: its commas are text.
            let commas: usize = first.split('"').step_by(2).map(|piece| piece.matches(',').count()).sum();
            let columns = table.columns.matches(" NOT NULL").count()
                + table.columns.split(", ").filter(|column| !column.ends_with("NOT NULL")).count();
            assert_eq!(commas + 1, columns, "{}: {first}", table.name);
        }
    }

    #[test]
    fn keys_hold_at_every_scale() {
        for scale in [0.001, 0.012] {
            let mut keys = std::collections::HashSet::new();
            for row in each_supplier_once(PartSuppGenerator::new(scale, 1, 1).iter()) {
                assert!(keys.insert((row.ps_partkey, row.ps_suppkey)), "{scale}: {row}");
            }
            assert!(keys.len() > 500, "{scale}");
        }
    }

    #[test]
    fn row_estimates_are_near_the_generated_number() {
        for table in &TABLES {
            let rows: u64 = (table.chunks)(0.001).map(|(_, rows)| rows).sum();
            let ratio = rows as f64 / table.rows(0.001);
            assert!((0.8..1.1).contains(&ratio), "{}: {rows}", table.name);
        }
    }
}
