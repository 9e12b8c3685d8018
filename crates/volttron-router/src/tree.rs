//! From a topic to the peers whose prefixes it starts with.
//!
//! Prefixes are strings, not path segments: `devices/a` matches `devices/ab` (subsystems.md section 5.1), so the
//! tree branches at bytes. Nodes live in an arena: chains of any depth are walked and freed without recursion.

use slab::Slab;
use smallvec::SmallVec;

use crate::peers::PeerId;

/// Which of the two subscription tables of the protocol an entry is in; publishing looks at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// `internal`: this platform only.
    Internal,
    /// `all`: connected platforms as well.
    All,
}

impl Table {
    fn bit(self) -> u8 {
        match self {
            Table::Internal => 1,
            Table::All => 2,
        }
    }
}

/// One peer at one prefix, in one table or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subscriber {
    peer: PeerId,
    tables: u8,
}

#[derive(Debug, Default)]
struct Node {
    /// Bytes between the parent and here; empty only at the root.
    label: Box<[u8]>,
    subscribers: SmallVec<[Subscriber; 2]>,
    /// Sorted by the first byte of the child's label, which no two children share.
    children: SmallVec<[(u8, u32); 2]>,
}

/// A prefix tree over one bus. The root is node 0 and stays.
#[derive(Debug)]
pub struct Tree {
    nodes: Slab<Node>,
    entries: usize,
    generation: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Tree { nodes, entries: 0, generation: 1 }
    }
}

const ROOT: u32 = 0;

impl Tree {
    /// Changes with every change of the tree; never 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether nobody subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds `peer` at `prefix`; false if it is there already.
    pub fn insert(&mut self, prefix: &[u8], table: Table, peer: PeerId) -> bool {
        let at = self.node_for(prefix);
        let subscribers = &mut self.nodes[at as usize].subscribers;
        match subscribers.iter_mut().find(|entry| entry.peer == peer) {
            Some(entry) if entry.tables & table.bit() != 0 => return false,
            Some(entry) => entry.tables |= table.bit(),
            None => subscribers.push(Subscriber { peer, tables: table.bit() }),
        }
        self.entries += 1;
        self.generation += 1;
        true
    }

    /// Removes `peer` from `prefix`; false if it is not there.
    pub fn remove(&mut self, prefix: &[u8], table: Table, peer: PeerId) -> bool {
        let Some((parent, at)) = self.find(prefix) else { return false };
        let subscribers = &mut self.nodes[at as usize].subscribers;
        let Some(n) = subscribers.iter().position(|entry| entry.peer == peer) else { return false };
        if subscribers[n].tables & table.bit() == 0 {
            return false;
        }
        subscribers[n].tables &= !table.bit();
        if subscribers[n].tables == 0 {
            subscribers.swap_remove(n);
        }
        self.entries -= 1;
        self.generation += 1;
        self.tidy(parent, at);
        true
    }

    /// Calls `found` for every peer at every prefix of `topic`; a peer with several comes several times.
    pub fn matches(&self, topic: &[u8], mut found: impl FnMut(PeerId)) {
        let (mut at, mut rest) = (ROOT, topic);
        loop {
            let node = &self.nodes[at as usize];
            for entry in &node.subscribers {
                found(entry.peer);
            }
            let Some(child) = rest.first().and_then(|&byte| child(node, byte)) else { return };
            let Some(tail) = rest.strip_prefix(&*self.nodes[child as usize].label) else { return };
            (at, rest) = (child, tail);
        }
    }

    /// Calls `found(prefix, is_member)` for every prefix with subscribers in `table` that starts with `start`, or,
    /// with `reverse`, that `start` starts with; `is_member` says whether `who` is among them. In byte order; stops
    /// when `found` says false.
    pub fn list(
        &self,
        start: &[u8],
        reverse: bool,
        table: Table,
        who: PeerId,
        mut found: impl FnMut(&[u8], bool) -> bool,
    ) {
        let mut prefix = Vec::new();
        // Node, and the length of `prefix` its label is to be appended at.
        let mut open: Vec<(u32, usize)> = vec![(ROOT, 0)];
        while let Some((at, parent_len)) = open.pop() {
            let node = &self.nodes[at as usize];
            prefix.truncate(parent_len);
            prefix.extend_from_slice(&node.label);
            let common = common_len(&prefix, start);
            let wanted = if reverse { common == prefix.len() } else { common == start.len() };
            let below = if reverse { wanted } else { wanted || common == prefix.len() };
            let mut listed =
                node.subscribers.iter().filter(|entry| entry.tables & table.bit() != 0).peekable();
            if wanted && listed.peek().is_some() && !found(&prefix, listed.any(|entry| entry.peer == who)) {
                return;
            }
            if below {
                open.extend(node.children.iter().rev().map(|&(_, child)| (child, prefix.len())));
            }
        }
    }

    /// The node for exactly `prefix`, made if need be.
    fn node_for(&mut self, prefix: &[u8]) -> u32 {
        let (mut at, mut rest) = (ROOT, prefix);
        while let Some(&byte) = rest.first() {
            let Some(next) = child(&self.nodes[at as usize], byte) else {
                return self.add_child(at, rest);
            };
            let label = &self.nodes[next as usize].label;
            let common = common_len(label, rest);
            rest = &rest[common..];
            at = if common < label.len() { self.split(at, next, common) } else { next };
        }
        at
    }

    /// A new node below `parent`.
    fn add_child(&mut self, parent: u32, label: &[u8]) -> u32 {
        let new = self.nodes.insert(Node { label: label.into(), ..Node::default() }) as u32;
        let children = &mut self.nodes[parent as usize].children;
        let place = children.partition_point(|&(byte, _)| byte < label[0]);
        children.insert(place, (label[0], new));
        new
    }

    /// Puts a node between `parent` and `below`, after `common` bytes of the latter's label.
    fn split(&mut self, parent: u32, below: u32, common: usize) -> u32 {
        let label = std::mem::take(&mut self.nodes[below as usize].label);
        let (head, tail) = label.split_at(common);
        self.nodes[below as usize].label = tail.into();
        let between =
            Node { label: head.into(), children: SmallVec::from_iter([(tail[0], below)]), ..Node::default() };
        let between = self.nodes.insert(between) as u32;
        replace_child(&mut self.nodes[parent as usize], head[0], between);
        between
    }

    /// The node for exactly `prefix` and its parent (the root is its own).
    fn find(&self, prefix: &[u8]) -> Option<(u32, u32)> {
        let (mut parent, mut at, mut rest) = (ROOT, ROOT, prefix);
        while let Some(&byte) = rest.first() {
            let next = child(&self.nodes[at as usize], byte)?;
            rest = rest.strip_prefix(&*self.nodes[next as usize].label)?;
            (parent, at) = (at, next);
        }
        Some((parent, at))
    }

    /// After `at` lost a subscriber: a node without subscribers has at least two children, or is the root.
    fn tidy(&mut self, parent: u32, at: u32) {
        let node = &self.nodes[at as usize];
        if at == ROOT || !node.subscribers.is_empty() {
            return;
        }
        match node.children.len() {
            0 => {
                let byte = self.nodes.remove(at as usize).label[0];
                let parent_node = &mut self.nodes[parent as usize];
                parent_node.children.retain(|&mut (first, _)| first != byte);
                if parent != ROOT && parent_node.subscribers.is_empty() && parent_node.children.len() == 1 {
                    self.join(parent);
                }
            }
            1 => self.join(at),
            _ => {}
        }
    }

    /// Merges the only child of `at` into it. The arena slot of `at` stays, so its parent needs no change.
    fn join(&mut self, at: u32) {
        let (_, child) = self.nodes[at as usize].children[0];
        let below = self.nodes.remove(child as usize);
        let node = &mut self.nodes[at as usize];
        node.label = [&*node.label, &*below.label].concat().into();
        node.subscribers = below.subscribers;
        node.children = below.children;
    }
}

fn child(node: &Node, byte: u8) -> Option<u32> {
    let n = node.children.binary_search_by_key(&byte, |&(first, _)| first).ok()?;
    Some(node.children[n].1)
}

fn replace_child(node: &mut Node, byte: u8, new: u32) {
    if let Ok(n) = node.children.binary_search_by_key(&byte, |&(first, _)| first) {
        node.children[n].1 = new;
    }
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// What the tree stands for: a set per prefix and table.
    #[derive(Default)]
    struct Model(BTreeMap<(Vec<u8>, Table), BTreeSet<PeerId>>);

    impl Model {
        fn matches(&self, topic: &[u8]) -> BTreeSet<PeerId> {
            self.0
                .iter()
                .filter(|((prefix, _), _)| topic.starts_with(prefix))
                .flat_map(|(_, peers)| peers)
                .copied()
                .collect()
        }

        fn list(&self, start: &[u8], reverse: bool, table: Table, who: PeerId) -> Vec<(Vec<u8>, bool)> {
            let wanted =
                |prefix: &[u8]| if reverse { start.starts_with(prefix) } else { prefix.starts_with(start) };
            self.0
                .iter()
                .filter(|((prefix, at), peers)| *at == table && wanted(prefix) && !peers.is_empty())
                .map(|((prefix, _), peers)| (prefix.clone(), peers.contains(&who)))
                .collect()
        }
    }

    fn check(tree: &Tree, model: &Model, topic: &[u8]) {
        let mut found = BTreeSet::new();
        tree.matches(topic, |peer| {
            found.insert(peer);
        });
        assert_eq!(found, model.matches(topic), "{topic:?}");
        for (reverse, table) in
            [(false, Table::Internal), (true, Table::Internal), (false, Table::All), (true, Table::All)]
        {
            let mut listed = Vec::new();
            tree.list(topic, reverse, table, PeerId(1), |prefix, member| {
                listed.push((prefix.to_vec(), member));
                true
            });
            assert_eq!(listed, model.list(topic, reverse, table, PeerId(1)), "{topic:?} {reverse} {table:?}");
        }
    }

    /// Every node below the root is needed: it has subscribers or is where the tree branches.
    fn check_shape(tree: &Tree) {
        let mut entries = 0;
        for (n, node) in &tree.nodes {
            entries += node.subscribers.iter().map(|entry| entry.tables.count_ones() as usize).sum::<usize>();
            assert!(
                n == 0 || !node.subscribers.is_empty() || node.children.len() >= 2,
                "node {n} is not needed"
            );
            assert_eq!(n == 0, node.label.is_empty());
            assert!(node.children.windows(2).all(|pair| pair[0].0 < pair[1].0), "children are sorted");
            assert!(node.children.iter().all(|&(byte, child)| tree.nodes[child as usize].label[0] == byte));
        }
        assert_eq!(entries, tree.entries);
        assert_eq!(tree.is_empty(), entries == 0);
    }

    proptest! {
        #[test]
        fn the_tree_is_its_model(
            steps in proptest::collection::vec((any::<bool>(), "[ab/]{0,6}", any::<bool>(), 0u32..4), 0..60),
            topics in proptest::collection::vec("[ab/]{0,8}", 1..8),
        ) {
            let (mut tree, mut model) = (Tree::default(), Model::default());
            for (add, prefix, all, peer) in steps {
                let (prefix, peer) = (prefix.as_bytes(), PeerId(peer));
                let table = if all { Table::All } else { Table::Internal };
                let set = model.0.entry((prefix.to_vec(), table)).or_default();
                let before = tree.generation();
                let changed = if add {
                    prop_assert_eq!(tree.insert(prefix, table, peer), set.insert(peer));
                    tree.generation() != before
                } else {
                    prop_assert_eq!(tree.remove(prefix, table, peer), set.remove(&peer));
                    tree.generation() != before
                };
                check_shape(&tree);
                check(&tree, &model, prefix);
                prop_assert!(changed || tree.generation() == before);
            }
            for topic in topics {
                check(&tree, &model, topic.as_bytes());
            }
        }
    }

    #[test]
    fn long_chains_need_no_stack() {
        let mut tree = Tree::default();
        let long = vec![b'x'; 20_000];
        for len in (0..long.len()).step_by(10) {
            assert!(tree.insert(&long[..len], Table::Internal, PeerId(1)));
        }
        let mut found = 0;
        tree.matches(&long, |_| found += 1);
        assert_eq!(found, 2_000);
        for len in (0..long.len()).step_by(10) {
            assert!(tree.remove(&long[..len], Table::Internal, PeerId(1)));
        }
        assert!(tree.is_empty());
        check_shape(&tree);
    }
}
