//! Times of the 22 queries side by side.

use std::fmt;

/// The best time of each query in each engine.
#[derive(Default)]
pub struct Times {
    lines: Vec<Line>,
}

struct Line {
    query: &'static str,
    strata_ms: f64,
    datafusion_ms: f64,
    duckdb_ms: Option<f64>,
}

impl Times {
    /// Adds a query's runs.
    pub fn add(&mut self, query: &'static str, strata: &[f64], datafusion: &[f64], duckdb: Option<&[f64]>) {
        self.lines.push(Line {
            query,
            strata_ms: best(strata),
            datafusion_ms: best(datafusion),
            duckdb_ms: duckdb.map(best),
        });
    }
}

fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:10.digits$}"),
            None => format!("{:>10}", "-"),
        };
        writeln!(formatter, "query   Strata ms  Parquet ms      ratio  DuckDB ms      ratio")?;
        let mut write = |query: &str, strata: f64, datafusion: f64, duckdb: Option<f64>| {
            writeln!(
                formatter,
                "{query:<6} {} {} {} {} {}",
                cell(Some(strata), 1),
                cell(Some(datafusion), 1),
                cell(Some(strata / datafusion), 2),
                cell(duckdb, 1),
                cell(duckdb.map(|duckdb| strata / duckdb), 2),
            )
        };
        for line in &self.lines {
            write(line.query, line.strata_ms, line.datafusion_ms, line.duckdb_ms)?;
        }
        let strata = self.lines.iter().map(|line| line.strata_ms).sum();
        let datafusion = self.lines.iter().map(|line| line.datafusion_ms).sum();
        write("total", strata, datafusion, self.lines.iter().map(|line| line.duckdb_ms).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_the_best() {
        let mut times = Times::default();
        times.add("q01", &[3.0, 1.0], &[2.0, 4.0], None);
        times.add("q02", &[1.0], &[2.0], None);
        let text = times.to_string();
        let total: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(total, ["total", "2.0", "4.0", "0.50", "-", "-"]);
    }
}
