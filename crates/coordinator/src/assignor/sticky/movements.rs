//! Which partitions have moved between which members while a group is balanced.
//!
//! Before a partition moves from one member to another, it is looked up whether one of the same topic went the opposite
//! way: that one goes back instead, so that two members never swap partitions of a topic.

use std::collections::BTreeSet;

use super::super::group::NOBODY;

/// Where a partition came from and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    from: u32,
    to: u32,
}

const UNMOVED: Move = Move { from: NOBODY, to: NOBODY };

/// See the module.
#[derive(Debug)]
pub(super) struct Movements {
    /// Each partition's.
    moves: Vec<Move>,
    /// The same, to be found by topic, from, to.
    by_pair: BTreeSet<(u32, u32, u32, u32)>,
}

impl Movements {
    pub(super) fn new(partition_count: usize) -> Self {
        Self { moves: vec![UNMOVED; partition_count], by_pair: BTreeSet::new() }
    }

    /// Which partition is to move from `from` to `to` in place of `partition` of that topic; often itself.
    pub(super) fn to_be_moved(&self, topic: u32, partition: u32, from: u32, to: u32) -> u32 {
        let known = self.moves[partition as usize];
        let from = if known == UNMOVED { from } else { known.from };
        let opposite = self.by_pair.range((topic, to, from, 0)..=(topic, to, from, u32::MAX)).next();
        opposite.map_or(partition, |(.., partition)| *partition)
    }

    /// A partition of that topic moved. If it did before, it came from where it was first; if it is back there, it did
    /// not.
    pub(super) fn add(&mut self, topic: u32, partition: u32, from: u32, to: u32) {
        let known = &mut self.moves[partition as usize];
        let mut next = Move { from, to };
        if *known != UNMOVED {
            self.by_pair.remove(&(topic, known.from, known.to, partition));
            next.from = known.from;
        }
        *known = UNMOVED;
        if next.from != next.to {
            *known = next;
            self.by_pair.insert((topic, next.from, next.to, partition));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_the_opposite_way_goes_back_first() {
        let mut movements = Movements::new(3);
        movements.add(0, 0, 5, 6);
        assert_eq!(movements.to_be_moved(0, 1, 6, 5), 0, "it came from there");
        assert_eq!(movements.to_be_moved(0, 1, 5, 6), 1, "the same way");
        assert_eq!(movements.to_be_moved(1, 2, 6, 5), 2, "another topic");
        movements.add(0, 0, 6, 5);
        assert_eq!(movements.to_be_moved(0, 1, 6, 5), 1, "it is back");
    }

    #[test]
    fn a_partition_that_moves_on_still_comes_from_where_it_was_first() {
        let mut movements = Movements::new(2);
        movements.add(0, 0, 1, 2);
        movements.add(0, 0, 2, 3);
        assert_eq!(movements.to_be_moved(0, 1, 3, 1), 0);
        assert_eq!(movements.to_be_moved(0, 1, 3, 2), 1);
        assert_eq!(movements.to_be_moved(0, 1, 2, 1), 1);
    }
}
