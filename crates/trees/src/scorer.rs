//! A forest laid out for speed.
//!
//! Source: C. Lucchese, F. Nardini, S. Orlando et al. (2015), "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees", SIGIR, and
//! for several rows side by side the same authors (2016), "Exploiting CPU SIMD extensions to speed-up document scoring with tree ensembles".
//! Each tree of up to 32 leaves keeps one word per row, a bit per leaf that can still be reached. Nodes are not visited
//! tree by tree but feature by feature, by rising bounds: one whose test fails (the row goes right) strikes out the leaves on its left. Once no row
//! exceeds a bound, none exceeds the next. What is left in the end, the lowest bit, is the leaf.
//! Nothing branches on data but the end of a feature's list.

use crate::bins::category;
use crate::forest::{Forest, Place, Test, Tree, in_set};

/// Leaves of a tree that one word has bits for.
const LEAVES_MAX: usize = 32;
/// Rows side by side.
pub(crate) const LANES: usize = 16;
/// Lists are filled up to a whole number of these, so that the end is looked for only so often.
pub(crate) const STEP: usize = 4;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// The widest that the machine has.
    Best,
    /// Sixteen rows in one register.
    Avx512,
    /// Eight rows in one register.
    Avx2,
    /// No vector instructions asked for.
    Plain,
}

/// Bounds of one feature, rising, with what a failed test strikes out.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) bounds: Vec<f32>,
    /// Bits of the leaves that stay.
    pub(crate) keeps: Vec<u32>,
    pub(crate) trees: Vec<u32>,
}

/// Entries of a table of sets at most; beyond, tests are asked one by one.
const TABLE_MAX: usize = 1 << 20;

/// A test for a set, with what it strikes out if it fails.
#[derive(Debug, Clone)]
struct SetTest {
    set: Vec<u32>,
    keeps: u32,
    tree: u32,
}

/// All tests of one feature for sets. What a value strikes out of each tree is known beforehand, so that a row costs one step per tree, however many tests
/// there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    tests: Vec<SetTest>,
    /// Categories that are in some set, ascending.
    codes: Vec<u32>,
    /// The trees that are asked, ascending.
    trees: Vec<u32>,
    /// Bits that stay of each of these trees, for each of `codes` and last for whatever is in no set; empty if that would be too much.
    keeps: Vec<u32>,
}

impl Sets {
    fn new(tests: Vec<SetTest>) -> Sets {
        let mut codes: Vec<u32> = tests.iter().flat_map(|test| members(&test.set)).collect();
        codes.sort_unstable();
        codes.dedup();
        let mut trees: Vec<u32> = tests.iter().map(|test| test.tree).collect();
        trees.sort_unstable();
        trees.dedup();
        let mut sets = Sets {
            tests,
            codes,
            trees,
            keeps: Vec::new(),
        };
        let size = (sets.codes.len() + 1) * sets.trees.len();
        if size <= TABLE_MAX && !sets.tests.is_empty() {
            let values = sets.codes.iter().map(|code| *code as f32).chain([f32::NAN]);
            sets.keeps = values.flat_map(|value| sets.keeps_of(value)).collect();
        }
        sets
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Bits that stay of each tree that is asked, by asking every test.
    fn keeps_of(&self, value: f32) -> Vec<u32> {
        let mut keeps = vec![u32::MAX; self.trees.len()];
        for test in self.tests.iter().filter(|test| !in_set(&test.set, value)) {
            let at = self.trees.partition_point(|tree| *tree < test.tree);
            keeps[at] &= test.keeps;
        }
        keeps
    }

    /// Where the bits of a value begin.
    fn start(&self, value: f32) -> usize {
        let known = category(value).and_then(|code| self.codes.binary_search(&code).ok());
        known.unwrap_or(self.codes.len()) * self.trees.len()
    }

    fn strike(&self, column: &[f32; LANES], alive: &mut [[u32; LANES]]) {
        if self.keeps.is_empty() {
            for test in &self.tests {
                let alive = &mut alive[test.tree as usize];
                for (alive, value) in alive.iter_mut().zip(column) {
                    *alive &= if in_set(&test.set, *value) {
                        u32::MAX
                    } else {
                        test.keeps
                    };
                }
            }
            return;
        }
        let starts = column.map(|value| self.start(value));
        if starts.iter().all(|start| *start == starts[0]) {
            let own = &self.keeps[starts[0]..starts[0] + self.trees.len()];
            for (tree, keeps) in self.trees.iter().zip(own) {
                alive[*tree as usize].iter_mut().for_each(|alive| *alive &= keeps);
            }
            return;
        }
        let rows = starts.map(|start| &self.keeps[start..start + self.trees.len()]);
        for (at, tree) in self.trees.iter().enumerate() {
            let alive = &mut alive[*tree as usize];
            for (alive, row) in alive.iter_mut().zip(&rows) {
                *alive &= row[at];
            }
        }
    }
}

/// The categories of a set.
fn members(set: &[u32]) -> impl Iterator<Item = u32> + '_ {
    let of_word = |(at, word): (usize, &u32)| {
        let word = *word;
        (0..32)
            .filter(move |bit| word >> bit & 1 == 1)
            .map(move |bit| at as u32 * 32 + bit)
    };
    set.iter().enumerate().flat_map(of_word)
}

/// All that is asked of one feature.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) feature: usize,
    /// Nodes where a missing number goes left: it fails no test.
    pub(crate) missing_left: List,
    /// Nodes where it goes right: it fails every test.
    pub(crate) missing_right: List,
    pub(crate) sets: Sets,
}

/// Puts the values of so many rows from one on into the lanes, by feature.
type Fill<'a> = dyn Fn(usize, usize, &mut [[f32; LANES]]) + 'a;

/// A forest laid out for speed: scores are those of [`Forest::score`], to the last bit.
///
/// Cost: a row takes about (nodes whose test fails) / 16 steps of four instructions with AVX-512. A forest with a tree of more than 32 leaves is
/// scored the plain way.
#[derive(Debug, Clone)]
pub struct Scorer {
    forest: Forest,
    layout: Option<Layout>,
}

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) n_features: usize,
    pub(crate) base: f64,
    pub(crate) asked: Vec<Asked>,
    /// Answers by tree, 32 each.
    pub(crate) leaves: Vec<[f32; LEAVES_MAX]>,
}

impl From<Forest> for Scorer {
    fn from(forest: Forest) -> Scorer {
        let layout = Layout::new(&forest);
        Scorer { forest, layout }
    }
}

impl Scorer {
    /// The forest.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// Scores rows, one after the other in `values`.
    ///
    /// # Panics
    /// If `values` does not have one value per feature and entry of `scores`.
    pub fn score(&self, values: &[f32], scores: &mut [f32]) {
        self.score_with(Kernel::Best, values, scores);
    }

    /// The same with a given kernel; one that the machine lacks is replaced by the next best.
    ///
    /// # Panics
    /// As [`score`](Scorer::score).
    pub fn score_with(&self, kernel: Kernel, values: &[f32], scores: &mut [f32]) {
        let width = self.forest.features.len();
        assert_eq!(values.len(), scores.len() * width, "a value per feature and row");
        let Some(layout) = &self.layout else {
            for (score, row) in scores.iter_mut().zip(values.chunks(width)) {
                *score = self.forest.score(row);
            }
            return;
        };
        let fill = |start: usize, n: usize, columns: &mut [[f32; LANES]]| {
            let rows = values[start * width..(start + n) * width].chunks(width);
            for (lane, row) in rows.enumerate() {
                columns
                    .iter_mut()
                    .zip(row)
                    .for_each(|(column, value)| column[lane] = *value);
            }
        };
        layout.score(available(kernel), &fill, scores);
    }

    /// Scores rows whose values come feature after feature: those of [`score`](Scorer::score) for the same rows.
    ///
    /// # Panics
    /// As [`score`](Scorer::score).
    pub fn score_columns(&self, values: &[f32], scores: &mut [f32]) {
        let (width, height) = (self.forest.features.len(), scores.len());
        assert_eq!(values.len(), height * width, "a value per feature and row");
        let Some(layout) = &self.layout else {
            for (at, score) in scores.iter_mut().enumerate() {
                let row: Vec<f32> = values.chunks(height).map(|column| column[at]).collect();
                *score = self.forest.score(&row);
            }
            return;
        };
        let fill = |start: usize, n: usize, columns: &mut [[f32; LANES]]| {
            for (column, values) in columns.iter_mut().zip(values.chunks(height)) {
                column[..n].copy_from_slice(&values[start..start + n]);
            }
        };
        layout.score(available(Kernel::Best), &fill, scores);
    }
}

fn available(kernel: Kernel) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512cd");
        let half = is_x86_feature_detected!("avx2");
        match kernel {
            Kernel::Best | Kernel::Avx512 if wide => Kernel::Avx512,
            Kernel::Best | Kernel::Avx512 | Kernel::Avx2 if half => Kernel::Avx2,
            _ => Kernel::Plain,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = kernel;
        Kernel::Plain
    }
}

impl Layout {
    fn new(forest: &Forest) -> Option<Layout> {
        if forest.trees.iter().any(|tree| tree.leaves.len() > LEAVES_MAX) {
            return None;
        }
        let mut asked: Vec<Asked> = (0..forest.features.len())
            .map(|feature| Asked {
                feature,
                ..Asked::default()
            })
            .collect();
        let mut found: Vec<[Vec<(f32, u32, u32)>; 2]> = vec![Default::default(); asked.len()];
        let mut sets: Vec<Vec<SetTest>> = vec![Vec::new(); asked.len()];
        let mut leaves = Vec::with_capacity(forest.trees.len());
        for (at, tree) in forest.trees.iter().enumerate() {
            let (order, struck) = in_order(tree);
            let mut answers = [0f32; LEAVES_MAX];
            answers
                .iter_mut()
                .zip(order)
                .for_each(|(answer, leaf)| *answer = tree.leaves[leaf as usize]);
            leaves.push(answers);
            for (node, struck) in tree.nodes.iter().zip(struck) {
                let (feature, keeps, tree) = (node.feature as usize, !struck, at as u32);
                match &node.test {
                    Test::AtMost(bound) => {
                        found[feature][usize::from(!node.missing_left)].push((*bound, keeps, tree));
                    }
                    Test::OneOf(set) => {
                        sets[feature].push(SetTest {
                            set: set.clone(),
                            keeps,
                            tree,
                        });
                    }
                }
            }
        }
        for ((asked, [left, right]), sets) in asked.iter_mut().zip(found).zip(sets) {
            asked.sets = Sets::new(sets);
            asked.missing_left = List::new(left);
            asked.missing_right = List::new(right);
        }
        asked.retain(|a| {
            !(a.missing_left.bounds.is_empty() && a.missing_right.bounds.is_empty() && a.sets.is_empty())
        });
        Some(Layout {
            n_features: forest.features.len(),
            base: forest.base,
            asked,
            leaves,
        })
    }

    /// Scores rows, some at a time.
    fn score(&self, kernel: Kernel, fill: &Fill<'_>, scores: &mut [f32]) {
        let mut columns = vec![[0f32; LANES]; self.n_features];
        let mut alive = vec![[0u32; LANES]; self.leaves.len()];
        for (at, scores) in scores.chunks_mut(LANES).enumerate() {
            fill(at * LANES, scores.len(), &mut columns);
            let mut sums = [0f64; LANES];
            match kernel {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `available` has asked the machine for what the functions are compiled for.
                Kernel::Avx512 => unsafe {
                    crate::scorer_simd::avx512(self, &columns, &mut alive, &mut sums)
                },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Kernel::Avx2 => unsafe { crate::scorer_simd::avx2(self, &columns, &mut alive, &mut sums) },
                _ => self.plain(&columns, &mut alive, &mut sums),
            }
            scores
                .iter_mut()
                .zip(sums)
                .for_each(|(score, sum)| *score = sum as f32);
        }
    }

    /// Strikes out by sets, the same for all kernels.
    pub(crate) fn strike_sets(asked: &Asked, column: &[f32; LANES], alive: &mut [[u32; LANES]]) {
        asked.sets.strike(column, alive);
    }

    fn plain(&self, columns: &[[f32; LANES]], alive: &mut [[u32; LANES]], sums: &mut [f64; LANES]) {
        alive.fill([u32::MAX; LANES]);
        for asked in &self.asked {
            let column = &columns[asked.feature];
            for (list, fails) in [
                (
                    &asked.missing_left,
                    (|value, bound| value > bound) as fn(f32, f32) -> bool,
                ),
                (&asked.missing_right, |value: f32, bound: f32| {
                    value > bound || value.is_nan()
                }),
            ] {
                for at in 0..list.bounds.len() {
                    let bound = list.bounds[at];
                    if !column.iter().any(|value| fails(*value, bound)) {
                        break;
                    }
                    let alive = &mut alive[list.trees[at] as usize];
                    for (alive, value) in alive.iter_mut().zip(column) {
                        *alive &= if fails(*value, bound) {
                            list.keeps[at]
                        } else {
                            u32::MAX
                        };
                    }
                }
            }
            Layout::strike_sets(asked, column, alive);
        }
        sums.fill(self.base);
        for (alive, leaves) in alive.iter().zip(&self.leaves) {
            for (sum, alive) in sums.iter_mut().zip(alive) {
                *sum += f64::from(leaves[alive.trailing_zeros() as usize % LEAVES_MAX]);
            }
        }
    }
}

impl List {
    fn new(mut nodes: Vec<(f32, u32, u32)>) -> List {
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)).then(a.1.cmp(&b.1)));
        // No number exceeds infinity; what is missing strikes out nothing here.
        while !nodes.len().is_multiple_of(STEP) {
            nodes.push((f32::INFINITY, u32::MAX, 0));
        }
        List {
            bounds: nodes.iter().map(|n| n.0).collect(),
            keeps: nodes.iter().map(|n| n.1).collect(),
            trees: nodes.iter().map(|n| n.2).collect(),
        }
    }
}

/// Leaves from left to right, and for every node the bits of the leaves on its left.
fn in_order(tree: &Tree) -> (Vec<u32>, Vec<u32>) {
    fn visit(tree: &Tree, place: Place, order: &mut Vec<u32>, struck: &mut [u32]) {
        match place {
            Place::Leaf(leaf) => order.push(leaf),
            Place::Node(at) => {
                let node = &tree.nodes[at as usize];
                let first = order.len();
                visit(tree, node.left, order, struck);
                let bits = |n: usize| ((1u64 << n) - 1) as u32;
                struck[at as usize] = bits(order.len()) & !bits(first);
                visit(tree, node.right, order, struck);
            }
        }
    }
    let mut order = Vec::new();
    let mut struck = vec![0; tree.nodes.len()];
    let root = if tree.nodes.is_empty() {
        Place::Leaf(0)
    } else {
        Place::Node(0)
    };
    visit(tree, root, &mut order, &mut struck);
    (order, struck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use numeric::SeededStream;

    /// The table against asking every test, for categories that are in sets, in none, and for what is no category.
    #[test]
    fn a_table_of_sets_strikes_out_what_the_tests_do() {
        let mut stream = SeededStream::new(4, 2);
        let tests: Vec<SetTest> = (0..200)
            .map(|_| SetTest {
                set: (0..4)
                    .map(|_| (stream.uniform() * 4e9) as u32 & (stream.uniform() * 4e9) as u32)
                    .collect(),
                keeps: (stream.uniform() * 4e9) as u32,
                tree: stream.below(12) as u32 * 2,
            })
            .collect();
        let table = Sets::new(tests);
        assert!(!table.keeps.is_empty());
        let slow = Sets {
            keeps: Vec::new(),
            ..table.clone()
        };
        for round in 0..40 {
            let mut column: [f32; LANES] = std::array::from_fn(|_| stream.below(200) as f32);
            (column[3], column[5], column[7]) = (f32::NAN, -1.0, 2.5);
            if round % 4 == 0 {
                column = [column[round % LANES]; LANES];
            }
            let (mut one, mut two) = ([[u32::MAX; LANES]; 24], [[u32::MAX; LANES]; 24]);
            table.strike(&column, &mut one);
            slow.strike(&column, &mut two);
            assert_eq!(one, two, "{column:?}");
        }
    }
}
