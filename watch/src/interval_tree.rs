//! A map from intervals of keys to values, asked by key: which intervals contain it?
//!
//! An AVL tree ordered by `(start, end)`; each node also knows how far its subtree reaches, so a
//! question leaves out every subtree that ends before the key. Ours because the crate that comes
//! nearest (`iset`) wants bounds that are `Copy` and have an end, and a watch on "from this key
//! on" has none.

use std::cmp::Ordering;

use bytes::Bytes;

/// Where an interval ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Right before this key.
    Before(Bytes),
    /// After every key.
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

/// The keys in `[start, end)`. The empty start is before every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interval {
    pub(crate) start: Bytes,
    pub(crate) end: End,
}

/// The map.
///
/// Invariants, for every node:
/// 1. Intervals left of it are less, intervals right of it greater.
/// 2. `height` is one more than the higher child's; the children's heights differ by at most one.
/// 3. `reach` is the greatest end in its subtree.
#[derive(Debug)]
pub(crate) struct IntervalTree<V> {
    root: Link<V>,
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    interval: Interval,
    value: V,
    reach: End,
    height: u8,
    left: Link<V>,
    right: Link<V>,
}

impl<V> Default for IntervalTree<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V> IntervalTree<V> {
    /// The value of exactly this interval.
    pub(crate) fn find_mut(&mut self, interval: &Interval) -> Option<&mut V> {
        let mut link = &mut self.root;
        while let Some(node) = link {
            match interval.cmp(&node.interval) {
                Ordering::Less => link = &mut node.left,
                Ordering::Greater => link = &mut node.right,
                Ordering::Equal => return Some(&mut node.value),
            }
        }
        None
    }

    /// Sets the value of an interval.
    pub(crate) fn insert(&mut self, interval: Interval, value: V) {
        self.root = Some(insert(self.root.take(), interval, value));
    }

    /// Takes an interval out.
    pub(crate) fn remove(&mut self, interval: &Interval) -> Option<V> {
        let (root, removed) = remove(self.root.take(), interval);
        self.root = root;
        removed
    }

    /// Shows the value of every interval that contains `key`, in the order of the intervals.
    pub(crate) fn stab(&self, key: &[u8], visit: &mut impl FnMut(&V)) {
        stab(&self.root, key, visit);
    }

    #[cfg(test)]
    fn check_invariants(&self) -> usize {
        fn check<V>(link: &Link<V>, low: Option<&Interval>, high: Option<&Interval>) -> usize {
            let Some(node) = link else { return 0 };
            assert!(low.is_none_or(|low| *low < node.interval), "1");
            assert!(high.is_none_or(|high| node.interval < *high), "1");
            let (left, right) = (height(&node.left), height(&node.right));
            assert!(
                node.height == left.max(right) + 1 && left.abs_diff(right) <= 1,
                "2"
            );
            let children = [&node.left, &node.right]
                .into_iter()
                .flatten()
                .map(|child| &child.reach);
            assert_eq!(
                children.chain([&node.interval.end]).max(),
                Some(&node.reach),
                "3"
            );
            check(&node.left, low, Some(&node.interval))
                + check(&node.right, Some(&node.interval), high)
                + 1
        }
        check(&self.root, None, None)
    }
}

impl<V> Node<V> {
    /// Restores invariants 2 and 3 of a node whose children hold them and whose children's heights
    /// differ by at most two, as they do after one insertion or removal.
    fn balanced(mut self: Box<Self>) -> Box<Self> {
        let (left, right) = (height(&self.left), height(&self.right));
        if left > right + 1 {
            self.left = self.left.map(|child| {
                let leans_right = height(&child.right) > height(&child.left);
                if leans_right {
                    child.rotated_left()
                } else {
                    child
                }
            });
            return self.rotated_right();
        }
        if right > left + 1 {
            self.right = self.right.map(|child| {
                let leans_left = height(&child.left) > height(&child.right);
                if leans_left {
                    child.rotated_right()
                } else {
                    child
                }
            });
            return self.rotated_left();
        }
        self.refresh();
        self
    }

    fn rotated_left(mut self: Box<Self>) -> Box<Self> {
        let Some(mut top) = self.right.take() else {
            return self;
        };
        self.right = top.left.take();
        self.refresh();
        top.left = Some(self);
        top.refresh();
        top
    }

    fn rotated_right(mut self: Box<Self>) -> Box<Self> {
        let Some(mut top) = self.left.take() else {
            return self;
        };
        self.left = top.right.take();
        self.refresh();
        top.right = Some(self);
        top.refresh();
        top
    }

    fn refresh(&mut self) {
        self.height = height(&self.left).max(height(&self.right)) + 1;
        let children = [&self.left, &self.right]
            .into_iter()
            .flatten()
            .map(|child| &child.reach);
        let reach = children.fold(&self.interval.end, std::cmp::max);
        if self.reach != *reach {
            self.reach = reach.clone();
        }
    }
}

fn height<V>(link: &Link<V>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

fn insert<V>(link: Link<V>, interval: Interval, value: V) -> Box<Node<V>> {
    let Some(mut node) = link else {
        let reach = interval.end.clone();
        return Box::new(Node {
            interval,
            value,
            reach,
            height: 1,
            left: None,
            right: None,
        });
    };
    match interval.cmp(&node.interval) {
        Ordering::Less => node.left = Some(insert(node.left.take(), interval, value)),
        Ordering::Greater => node.right = Some(insert(node.right.take(), interval, value)),
        Ordering::Equal => node.value = value,
    }
    node.balanced()
}

fn remove<V>(link: Link<V>, interval: &Interval) -> (Link<V>, Option<V>) {
    let Some(mut node) = link else {
        return (None, None);
    };
    let removed;
    match interval.cmp(&node.interval) {
        Ordering::Less => (node.left, removed) = remove(node.left.take(), interval),
        Ordering::Greater => (node.right, removed) = remove(node.right.take(), interval),
        Ordering::Equal => {
            let Node {
                value, left, right, ..
            } = *node;
            return (joined(left, right), Some(value));
        }
    }
    (Some(node.balanced()), removed)
}

/// One tree of two whose heights differ by at most one, all of `left` being less than `right`.
fn joined<V>(left: Link<V>, right: Link<V>) -> Link<V> {
    let Some(right) = right else { return left };
    let (mut top, rest) = without_first(right);
    top.left = left;
    top.right = rest;
    Some(top.balanced())
}

fn without_first<V>(mut node: Box<Node<V>>) -> (Box<Node<V>>, Link<V>) {
    match node.left.take() {
        Some(left) => {
            let (first, rest) = without_first(left);
            node.left = rest;
            (first, Some(node.balanced()))
        }
        None => {
            let rest = node.right.take();
            (node, rest)
        }
    }
}

fn stab<V>(link: &Link<V>, key: &[u8], visit: &mut impl FnMut(&V)) {
    let Some(node) = link else { return };
    if !node.reach.is_after(key) {
        return;
    }
    stab(&node.left, key, visit);
    if node.interval.start.as_ref() > key {
        return;
    }
    if node.interval.end.is_after(key) {
        visit(&node.value);
    }
    stab(&node.right, key, visit);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval() -> impl Strategy<Value = Interval> {
        let key = || proptest::collection::vec(0_u8..6, 0..3).prop_map(Bytes::from);
        let end = prop_oneof![4 => key().prop_map(End::Before), 1 => Just(End::Never)];
        (key(), end).prop_map(|(start, end)| Interval { start, end })
    }

    proptest! {
        #[test]
        fn a_question_finds_what_a_walk_over_a_list_finds(
            steps in proptest::collection::vec((any::<bool>(), interval()), 1..200),
            keys in proptest::collection::vec(proptest::collection::vec(0_u8..6, 0..4), 1..20),
        ) {
            let mut tree = IntervalTree::default();
            let mut list = std::collections::BTreeMap::new();
            for (number, (add, interval)) in steps.into_iter().enumerate() {
                if add {
                    tree.insert(interval.clone(), number);
                    list.insert(interval, number);
                } else {
                    prop_assert_eq!(tree.find_mut(&interval).copied(), list.get(&interval).copied());
                    prop_assert_eq!(tree.remove(&interval), list.remove(&interval));
                }
                prop_assert_eq!(tree.check_invariants(), list.len());
            }
            for key in keys {
                let mut found = Vec::new();
                tree.stab(&key, &mut |&number| found.push(number));
                let expected: Vec<_> = list
                    .iter()
                    .filter(|(interval, _)| *interval.start <= *key && interval.end.is_after(&key))
                    .map(|(_, &number)| number)
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_question_touches_few_of_many_disjoint_intervals() {
        let mut tree = IntervalTree::default();
        for number in 0_u32..4096 {
            let start = Bytes::copy_from_slice(&number.to_be_bytes());
            let end = End::Before(Bytes::copy_from_slice(&(number + 1).to_be_bytes()));
            tree.insert(Interval { start, end }, number);
        }
        // 4096 in order make a tree of 13 levels, not a list.
        assert!(height(&tree.root) <= 14);
        let mut found = Vec::new();
        tree.stab(&77_u32.to_be_bytes(), &mut |&number| found.push(number));
        assert_eq!(found, [77]);
    }
}
