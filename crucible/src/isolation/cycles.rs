//! Cycles of the graph, and their names.
//!
//! Each pass looks at some kinds of edges: write dependencies alone (G0), with read dependencies (G1c), then all of
//! them so that no anti-dependency follows another (what snapshot isolation forbids), then all (what being serializable forbids). The
//! third goes over pairs of a node and whether an anti-dependency led there, from which no other may go on.
//! Each pass runs without the order of time first, so that a cycle that needs it says so.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::anomaly::{Anomaly, Phenomenon};
use super::components::{Search, components};
use super::graph::{Dependency, Edge, Graph};
use super::history::History;

/// From how many nodes of one component cycles are looked for.
const STARTS: usize = 64;
/// How many cycles of a pass are kept: to know that there are some takes one.
const KEPT: usize = 300;

/// Which edges a cycle may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// ww.
    Writes,
    /// ww and wr.
    Reads,
    /// All, but no rw after an rw.
    Nonadjacent,
    /// All.
    All,
}

#[derive(Clone, Copy)]
struct Step {
    from: usize,
    edge: Edge,
}

/// Cycles of the graph in these passes, the shortest first, each set of nodes once. The first of each name is described.
pub fn find(graph: &Graph, history: &History, passes: &[Pass]) -> Vec<Anomaly> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for pass in passes {
        for with_time in [false, true] {
            let walk = Walk { graph, pass: *pass, with_time };
            for cycle in walk.cycles() {
                let mut nodes: Vec<usize> = cycle.iter().map(|step| step.from).collect();
                nodes.sort_unstable();
                if seen.insert(nodes) {
                    found.push(cycle);
                }
            }
        }
    }
    found.sort_by_key(Vec::len);
    let mut described = HashSet::new();
    let anomalies = found.iter().map(|cycle| {
        let (phenomenon, by_time) = name(graph, cycle);
        let is_first = described.insert((phenomenon, by_time));
        let mut transactions: Vec<usize> = cycle.iter().map(|step| graph.transaction(step.from)).collect();
        transactions.sort_unstable();
        transactions.dedup();
        let description = match is_first {
            true => describe(graph, history, cycle, &transactions),
            false => String::new(),
        };
        Anomaly { phenomenon, by_time, transactions, description }
    });
    anomalies.collect()
}

struct Walk<'a> {
    graph: &'a Graph,
    pass: Pass,
    with_time: bool,
}

impl Walk<'_> {
    /// A state is a node, or in [`Pass::Nonadjacent`] a node and whether an rw led there.
    fn edges(&self, state: usize) -> impl Iterator<Item = (u32, Edge)> {
        let (node, after_rw) = (state / 2, state % 2 == 1);
        let edges = self.graph.edges[node].iter();
        edges.filter_map(move |edge| {
            let is_rw = matches!(edge.dependency, Dependency::Rw { .. });
            let allowed = match edge.dependency {
                Dependency::Ww => true,
                Dependency::Wr => self.pass != Pass::Writes,
                Dependency::Rw { .. } => {
                    self.pass == Pass::All || (self.pass == Pass::Nonadjacent && !after_rw)
                }
                Dependency::Time => self.with_time,
            };
            let flag = usize::from(is_rw && self.pass == Pass::Nonadjacent);
            allowed.then_some(((edge.to * 2 + flag) as u32, *edge))
        })
    }

    fn cycles(&self) -> Vec<Vec<Step>> {
        let states = self.graph.edges.len() * 2;
        let is_used = |state: usize| state.is_multiple_of(2) || self.pass == Pass::Nonadjacent;
        let successors: Vec<Vec<u32>> = (0..states)
            .map(|state| {
                let mut to: Vec<u32> = match is_used(state) {
                    true => self.edges(state).map(|(to, _)| to).collect(),
                    false => Vec::new(),
                };
                to.dedup();
                to
            })
            .collect();
        let components = components(&successors);
        let mut search = Search::new(&successors, &components);
        let mut found = Vec::new();
        for component in &components {
            let stride = component.len().div_ceil(STARTS);
            for start in component.iter().step_by(stride) {
                if found.len() < KEPT
                    && let Some(cycle) = search.shortest(*start)
                {
                    found.push(self.steps(&cycle));
                }
            }
        }
        found
    }

    fn steps(&self, cycle: &[u32]) -> Vec<Step> {
        let next = cycle.iter().cycle().skip(1);
        let pairs = cycle.iter().zip(next);
        pairs
            .map(|(from, to)| {
                let mut edges = self.edges(*from as usize).filter(|(other, _)| other == to);
                let (_, edge) = edges.next().expect("the search followed an edge");
                Step { from: *from as usize / 2, edge }
            })
            .collect()
    }
}

/// What a cycle is called, and whether it needs the order of time.
fn name(graph: &Graph, cycle: &[Step]) -> (Phenomenon, bool) {
    let is_rw = |step: &Step| matches!(step.edge.dependency, Dependency::Rw { .. });
    let has = |dependency| cycle.iter().any(|step| step.edge.dependency == dependency);
    let rw = cycle.iter().filter(|step| is_rw(step)).count();
    let adjacent =
        (0..cycle.len()).any(|place| is_rw(&cycle[place]) && is_rw(&cycle[(place + 1) % cycle.len()]));
    if !graph.statements.is_empty() && rw > 0 {
        return (Phenomenon::SplitStatement, has(Dependency::Time));
    }
    let one_key = cycle.iter().all(|step| step.edge.key == cycle[0].edge.key);
    let phenomenon = match rw {
        0 if !has(Dependency::Wr) => Phenomenon::G0,
        0 => Phenomenon::G1c,
        1 if one_key && !has(Dependency::Wr) && !has(Dependency::Time) => Phenomenon::LostUpdate,
        1 => Phenomenon::GSingle,
        _ if !adjacent => Phenomenon::GNonadjacent,
        _ if has(Dependency::Rw { predicate: true }) => Phenomenon::G2,
        _ => Phenomenon::G2Item,
    };
    (phenomenon, has(Dependency::Time))
}

fn describe(graph: &Graph, history: &History, cycle: &[Step], transactions: &[usize]) -> String {
    let mut text = format!("a cycle of {}", cycle.len());
    for Step { from, edge } in cycle {
        let (from, to) = (graph.name(*from), graph.name(edge.to));
        let Edge { key, before, after, .. } = edge;
        let why = match edge.dependency {
            Dependency::Ww => format!("ww: {from} wrote {before} of {key}, {to} wrote {after} over it"),
            Dependency::Wr => format!("wr: {from} wrote {before} of {key}, {to} saw it"),
            Dependency::Rw { predicate } => format!(
                "rw{}: {from} saw {before} of {key}, {to} wrote {after} over it",
                if predicate { " (predicate)" } else { "" }
            ),
            Dependency::Time => format!("time: {from} had ended before {to} began"),
        };
        let _ = write!(text, "\n    {why}");
    }
    for place in transactions {
        let _ = write!(text, "\n    T{place}: {}", history.transactions[*place]);
    }
    text
}
