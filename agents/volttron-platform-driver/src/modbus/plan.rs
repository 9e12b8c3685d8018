//! Which requests read a set of registers (drivers.md 9.2): sorted by address per table, adjacent and overlapping
//! ranges merged, a bound on the length of each request. Pure.
//!
//! Registers may share an address (aliases), overlap, or lie inside a longer one; none of them shortens a block, and a
//! register is never split over two requests.

use super::registry::{Register, Table};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Address space.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// Bits or words.
    pub count: u16,
    /// Indices of the registers it covers, by address.
    pub members: Vec<usize>,
}

impl Block {
    fn of(id: usize, register: &Register) -> Self {
        Self { table: register.table, start: register.address, count: register.width, members: vec![id] }
    }

    fn end(&self) -> u32 {
        u32::from(self.start) + u32::from(self.count)
    }
}

/// Plans the requests for the registers `ids`. `limit` bounds a block's length, except that a single longer register
/// gets a block of its own.
pub fn plan(registers: &[Register], ids: impl IntoIterator<Item = usize>, limit: u16) -> Vec<Block> {
    let mut ids: Vec<usize> = ids.into_iter().collect();
    // Longest first among equal starts, so that what follows lies inside.
    ids.sort_by_key(|id| {
        let r = &registers[*id];
        (r.table, r.address, std::cmp::Reverse(r.width), *id)
    });
    ids.dedup();
    let mut blocks: Vec<Block> = Vec::new();
    for id in ids {
        let register = &registers[id];
        let end = u32::from(register.address) + u32::from(register.width);
        if let Some(block) = blocks.last_mut()
            && block.table == register.table
            && u32::from(register.address) <= block.end()
        {
            let count = block.end().max(end) - u32::from(block.start);
            if count <= u32::from(limit.max(block.count)) {
                block.count = count as u16;
                block.members.push(id);
                continue;
            }
        }
        blocks.push(Block::of(id, register));
    }
    blocks
}

/// Splits a block whose request the device refused, to find the bad part: `None` when it cannot be smaller, because all
/// its members cover the same range.
pub fn bisect(registers: &[Register], block: &Block, limit: u16) -> Option<(Vec<Block>, Vec<Block>)> {
    let span = |id: &usize| (registers[*id].address, registers[*id].width);
    let first = span(block.members.first()?);
    if block.members.iter().all(|id| span(id) == first) {
        return None;
    }
    // Cut in the middle, but not between registers of the same range, which stand and fall together.
    let middle = block.members.len() / 2;
    let same_as_before = |at: usize| span(&block.members[at]) == span(&block.members[at - 1]);
    let cut = (middle.max(1)..block.members.len())
        .find(|at| !same_as_before(*at))
        .or_else(|| (1..middle.max(1)).rev().find(|at| !same_as_before(*at)))?;
    let (low, high) = block.members.split_at(cut);
    Some((plan(registers, low.iter().copied(), limit), plan(registers, high.iter().copied(), limit)))
}

#[cfg(test)]
mod tests {
    use super::super::codec::{Codec, Order};
    use super::*;
    use proptest::prelude::*;

    fn register(table: Table, address: u16, width: u16) -> Register {
        let codec = if table.is_bits() {
            Codec::BOOL
        } else {
            Codec::parse(&format!(">{}s", width * 2), Order::Big).expect("code")
        };
        Register { table, address, width, codec, mixed: false, transform: None, scaling: None }
    }

    fn check(registers: &[(Table, u16, u16)], limit: u16, want: &[(Table, u16, u16, &[usize])]) {
        let registers: Vec<Register> = registers.iter().map(|(t, a, w)| register(*t, *a, *w)).collect();
        let got = plan(&registers, 0..registers.len(), limit);
        let got: Vec<_> = got.iter().map(|b| (b.table, b.start, b.count, b.members.as_slice())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn blocks_follow_the_rules() {
        use Table::{Coil, Discrete, Holding, Input};
        // Adjacent ranges merge, gaps and tables separate, order of rows does not matter.
        check(
            &[
                (Holding, 12, 2),
                (Holding, 10, 2),
                (Holding, 15, 1),
                (Input, 14, 1),
                (Coil, 3, 1),
                (Discrete, 4, 1),
            ],
            100,
            &[
                (Coil, 3, 1, &[4]),
                (Discrete, 4, 1, &[5]),
                (Input, 14, 1, &[3]),
                (Holding, 10, 4, &[1, 0]),
                (Holding, 15, 1, &[2]),
            ],
        );
        // Aliases share; a nested register does not shrink the block; overlap extends it.
        check(
            &[(Holding, 0, 4), (Holding, 1, 1), (Holding, 0, 4), (Holding, 3, 4), (Holding, 7, 1)],
            100,
            &[(Holding, 0, 8, &[0, 2, 1, 3, 4])],
        );
        // The limit cuts between registers, never through one; a longer register stands alone.
        check(
            &[(Holding, 0, 60), (Holding, 60, 60), (Holding, 120, 40)],
            100,
            &[(Holding, 0, 60, &[0]), (Holding, 60, 100, &[1, 2])],
        );
        check(&[(Holding, 0, 120), (Holding, 5, 2)], 100, &[(Holding, 0, 120, &[0, 1])]);
        check(&[(Holding, 65_535, 1), (Holding, 65_534, 1)], 100, &[(Holding, 65_534, 2, &[1, 0])]);
    }

    #[test]
    fn bisecting_ends_at_single_ranges() {
        let registers: Vec<Register> =
            [(0, 2), (0, 2), (2, 1), (3, 1)].iter().map(|(a, w)| register(Table::Holding, *a, *w)).collect();
        let block = plan(&registers, 0..4, 100).remove(0);
        let (low, high) = bisect(&registers, &block, 100).expect("two halves");
        assert_eq!((low[0].members.as_slice(), high[0].members.as_slice()), (&[0, 1][..], &[2, 3][..]));
        assert_eq!(bisect(&registers, &low[0], 100), None);
        let (a, b) = bisect(&registers, &high[0], 100).expect("two registers");
        assert_eq!((a[0].count, b[0].count), (1, 1));
    }

    proptest! {
        #[test]
        fn every_register_is_in_exactly_one_block_that_covers_it(
            spans in prop::collection::vec((0u8..4, 0u16..400, 1u16..12), 1..80), limit in 1u16..110,
        ) {
            let tables = [Table::Coil, Table::Discrete, Table::Input, Table::Holding];
            let registers: Vec<Register> = spans.iter().map(|(t, a, w)| {
                let table = tables[usize::from(*t)];
                register(table, *a, if table.is_bits() { 1 } else { *w })
            }).collect();
            let blocks = plan(&registers, 0..registers.len(), limit);
            let mut seen = vec![0; registers.len()];
            for block in &blocks {
                let widest = block.members.iter().map(|id| registers[*id].width).max().unwrap_or(0);
                prop_assert!(block.count <= limit.max(widest));
                for id in &block.members {
                    let r = &registers[*id];
                    seen[*id] += 1;
                    prop_assert_eq!(r.table, block.table);
                    prop_assert!(r.address >= block.start);
                    prop_assert!(u32::from(r.address) + u32::from(r.width) <= block.end());
                }
                if let Some((low, high)) = bisect(&registers, block, limit) {
                    let mut parts: Vec<usize> = low.iter().chain(&high).flat_map(|b| b.members.clone()).collect();
                    parts.sort_unstable();
                    let mut whole = block.members.clone();
                    whole.sort_unstable();
                    prop_assert_eq!(parts, whole);
                    prop_assert!(!low.is_empty() && !high.is_empty());
                }
            }
            prop_assert!(seen.iter().all(|n| *n == 1));
        }
    }
}
