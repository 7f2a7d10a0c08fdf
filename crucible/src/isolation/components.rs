//! Strongly connected components, and the shortest cycle through a node of one.

use std::collections::VecDeque;

/// The components of more than one node: Tarjan, "Depth-First Search and Linear Graph Algorithms" (1972), without
/// recursion. `successors[node]` are the nodes that its edges lead to; none leads to itself.
pub fn components(successors: &[Vec<u32>]) -> Vec<Vec<u32>> {
    const UNSEEN: u32 = u32::MAX;
    let mut index = vec![UNSEEN; successors.len()];
    let mut low = vec![0u32; successors.len()];
    let mut on_stack = vec![false; successors.len()];
    let (mut stack, mut next) = (Vec::new(), 0u32);
    let mut found = Vec::new();
    for root in 0..successors.len() {
        if index[root] != UNSEEN {
            continue;
        }
        // A node under way, and how many of its edges have been followed.
        let mut path = vec![(root, 0usize)];
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if *followed == 0 {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node as u32);
                on_stack[node] = true;
            }
            if let Some(to) = successors[node].get(*followed).map(|to| *to as usize) {
                *followed += 1;
                if index[to] == UNSEEN {
                    path.push((to, 0));
                } else if on_stack[to] {
                    low[node] = low[node].min(index[to]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
            if low[node] == index[node] {
                let place = stack.iter().rposition(|other| *other as usize == node).unwrap_or(0);
                let component = stack.split_off(place);
                component.iter().for_each(|member| on_stack[*member as usize] = false);
                if component.len() > 1 {
                    found.push(component);
                }
            }
        }
    }
    found
}

/// Finds shortest cycles, breadth first.
#[derive(Debug)]
pub struct Search<'a> {
    successors: &'a [Vec<u32>],
    /// Which component a node is in; 0 for none.
    component: Vec<u32>,
    /// In which search a node was reached, and from where.
    reached: Vec<(u32, u32)>,
    turn: u32,
}

impl<'a> Search<'a> {
    /// A search in these components.
    pub fn new(successors: &'a [Vec<u32>], components: &[Vec<u32>]) -> Self {
        let mut component = vec![0; successors.len()];
        for (number, members) in (1u32..).zip(components) {
            members.iter().for_each(|member| component[*member as usize] = number);
        }
        Self { successors, component, reached: vec![(0, 0); successors.len()], turn: 0 }
    }

    /// The nodes of a shortest cycle through `start`, from it on.
    pub fn shortest(&mut self, start: u32) -> Option<Vec<u32>> {
        self.turn += 1;
        let own = self.component[start as usize];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &to in &self.successors[node as usize] {
                if to == start {
                    let mut cycle = vec![node];
                    while let Some(&last) = cycle.last().filter(|last| **last != start) {
                        cycle.push(self.reached[last as usize].1);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if self.component[to as usize] == own && self.reached[to as usize].0 != self.turn {
                    self.reached[to as usize] = (self.turn, node);
                    queue.push_back(to);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut components: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
        components.iter_mut().for_each(|component| component.sort_unstable());
        components.sort_unstable();
        components
    }

    #[test]
    fn components_are_found_and_single_nodes_are_none() {
        // 0 -> 1 -> 2 -> 0, 2 -> 3, 3 -> 4 -> 3, 5 -> 0.
        let graph = vec![vec![1], vec![2], vec![0, 3], vec![4], vec![3], vec![0]];
        assert_eq!(sorted(components(&graph)), [vec![0, 1, 2], vec![3, 4]]);
        assert!(components(&[vec![1], vec![2], vec![]]).is_empty());
    }

    /// A path of this length would overflow the stack of a recursive search.
    #[test]
    fn a_long_cycle_is_one_component() {
        let length = 200_000u32;
        let graph: Vec<Vec<u32>> = (0..length).map(|node| vec![(node + 1) % length]).collect();
        assert_eq!(components(&graph)[0].len(), length as usize);
    }

    #[test]
    fn the_cycle_found_is_a_shortest() {
        // Through 0: a cycle of four and, by the chord 2 -> 0, one of three.
        let graph = vec![vec![1], vec![2], vec![3, 0], vec![0]];
        let found = components(&graph);
        let mut search = Search::new(&graph, &found);
        assert_eq!(search.shortest(0), Some(vec![0, 1, 2]));
        assert_eq!(search.shortest(3), Some(vec![3, 0, 1, 2]));
    }
}
