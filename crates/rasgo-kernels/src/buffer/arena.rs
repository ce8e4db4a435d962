//! Which pieces of large blocks of memory are free. It only reckons with addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Pieces of blocks, of which a request takes the smallest free one that is large enough, from its lower end; what is given
/// back grows together with its free neighbours. So the memory of a step is little more than what it has in use at
/// one time, whatever its sizes.
///
/// ```text
/// block    | in use | free | in use |  free  | in use | never used |
/// ```
pub(super) struct Arena {
    /// The bytes of each free piece, by its address.
    by_place: BTreeMap<usize, usize>,
    /// The same, as (bytes, address): the first that is large enough is the smallest.
    by_size: BTreeSet<(usize, usize)>,
    /// The end of the youngest block, which nobody has touched.
    unused: Range<usize>,
    /// Address and bytes of each block. No block begins where another ends.
    blocks: Vec<(usize, usize)>,
}

/// A piece, and whether a part of it was never used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) place: usize,
    pub(super) fresh: bool,
}

impl Arena {
    pub(super) const fn new() -> Arena {
        Arena { by_place: BTreeMap::new(), by_size: BTreeSet::new(), unused: 0..0, blocks: Vec::new() }
    }

    /// Bytes of all blocks together.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.1).sum()
    }

    /// A piece of so many bytes, or `None` if there is none.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Piece> {
        if let Some(&(found, place)) = self.by_size.range((bytes, 0)..).next() {
            self.remove(place, found);
            if found > bytes {
                self.insert(place + bytes, found - bytes);
            }
            return Some(Piece { place, fresh: false });
        }
        // The last piece of the block and what it lacks from the part that was never used.
        let last =
            self.by_place.range(..self.unused.start).next_back().map(|(&place, &bytes)| (place, bytes));
        let last = last.filter(|(place, bytes)| place + bytes == self.unused.start);
        let (place, had) = last.unwrap_or((self.unused.start, 0));
        if had + self.unused.len() < bytes {
            return None;
        }
        if had > 0 {
            self.remove(place, had);
        }
        self.unused.start = place + bytes;
        Some(Piece { place, fresh: true })
    }

    /// Takes a piece back.
    pub(super) fn give(&mut self, mut place: usize, mut bytes: usize) {
        if let Some(&after) = self.by_place.get(&(place + bytes)) {
            self.remove(place + bytes, after);
            bytes += after;
        }
        let before = self.by_place.range(..place).next_back().map(|(&place, &bytes)| (place, bytes));
        if let Some((before, had)) = before.filter(|(before, had)| before + had == place) {
            self.remove(before, had);
            (place, bytes) = (before, bytes + had);
        }
        self.insert(place, bytes);
    }

    /// Begins to use a block of new memory.
    pub(super) fn add(&mut self, place: usize, bytes: usize) {
        self.retire_unused();
        self.blocks.push((place, bytes));
        self.unused = place..place + bytes;
    }

    /// Lets go of the blocks of which nothing is in use: their addresses and bytes.
    pub(super) fn release(&mut self) -> Vec<(usize, usize)> {
        self.retire_unused();
        let free = |&(place, bytes): &(usize, usize)| self.by_place.get(&place) == Some(&bytes);
        let (free, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.blocks).into_iter().partition(free);
        self.blocks = kept;
        free.iter().for_each(|&(place, bytes)| self.remove(place, bytes));
        free
    }

    /// Address and bytes of each free piece, without what was never used.
    pub(super) fn free(&self) -> impl Iterator<Item = (usize, usize)> {
        self.by_place.iter().map(|(&place, &bytes)| (place, bytes))
    }

    fn retire_unused(&mut self) {
        let unused = std::mem::take(&mut self.unused);
        if !unused.is_empty() {
            self.give(unused.start, unused.len());
        }
    }

    fn insert(&mut self, place: usize, bytes: usize) {
        self.by_place.insert(place, bytes);
        self.by_size.insert((bytes, place));
    }

    fn remove(&mut self, place: usize, bytes: usize) {
        self.by_place.remove(&place);
        self.by_size.remove(&(bytes, place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arena: &mut Arena, bytes: usize) -> usize {
        arena.take(bytes).unwrap().place
    }

    #[test]
    fn the_smallest_piece_that_is_large_enough_is_taken_and_neighbours_grow_together() {
        let mut arena = Arena::new();
        assert_eq!(arena.take(1), None);
        arena.add(1000, 100);
        let places = [30, 10, 20, 10].map(|bytes| taken(&mut arena, bytes));
        assert_eq!(places, [1000, 1030, 1040, 1060]);
        arena.give(1000, 30);
        arena.give(1040, 20);
        assert_eq!(arena.take(15), Some(Piece { place: 1040, fresh: false }));
        assert_eq!(arena.take(5), Some(Piece { place: 1055, fresh: false }));
        arena.give(1030, 10);
        assert_eq!(arena.take(40), Some(Piece { place: 1000, fresh: false }));
        // 30 were never used; the last piece counts among them once it is free.
        assert_eq!(arena.take(31), None);
        arena.give(1060, 10);
        assert_eq!(arena.take(31), Some(Piece { place: 1060, fresh: true }));
        assert_eq!(arena.take(9), Some(Piece { place: 1091, fresh: true }));
        assert_eq!(arena.take(1), None);
    }

    #[test]
    fn only_blocks_that_are_free_as_a_whole_are_released() {
        let mut arena = Arena::new();
        arena.add(1000, 100);
        arena.add(5000, 50);
        let (first, second) = (taken(&mut arena, 60), taken(&mut arena, 50));
        assert_eq!((first, second), (1000, 5000));
        assert_eq!(arena.release(), []);
        arena.give(first, 60);
        assert_eq!(arena.release(), [(1000, 100)]);
        assert_eq!(arena.take(60), None);
        arena.give(second, 50);
        assert_eq!(arena.release(), [(5000, 50)]);
        assert_eq!((arena.bytes(), arena.take(1)), (0, None));
    }

    /// Against a map of every byte.
    #[test]
    fn no_byte_is_in_two_pieces_and_none_is_lost() {
        let mut arena = Arena::new();
        let blocks = [(1000, 300), (2000, 500)];
        let (mut held, mut owner) = (Vec::<(usize, usize)>::new(), vec![false; 3000]);
        let mut random = 1u64;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut blocks_to_come = blocks.into_iter();
        for _ in 0..20_000 {
            if draw(2) == 0 && !held.is_empty() {
                let (place, bytes) = held.swap_remove(draw(held.len()));
                owner[place..place + bytes].fill(false);
                arena.give(place, bytes);
                continue;
            }
            let bytes = 1 + draw(60);
            let Some(piece) = arena.take(bytes) else {
                if let Some((place, bytes)) = blocks_to_come.next() {
                    arena.add(place, bytes);
                }
                continue;
            };
            let range = piece.place..piece.place + bytes;
            assert!(blocks.iter().any(|(at, len)| *at <= range.start && range.end <= at + len));
            assert!(owner[range.clone()].iter().all(|used| !used));
            owner[range].fill(true);
            held.push((piece.place, bytes));
        }
        for (place, bytes) in held {
            arena.give(place, bytes);
        }
        let mut released = arena.release();
        released.sort_unstable();
        assert_eq!(released, blocks);
    }
}
