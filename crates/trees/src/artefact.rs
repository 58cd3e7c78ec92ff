//! A forest as bytes.
//!
//! `magic "CNCT" | version u16 | payload length u64 | CRC-32 of the payload u32 | payload`, little-endian. A reader trusts nothing: lengths are
//! checked against the bytes that are left, and the trees that come out are checked to be trees.

use crate::forest::{Forest, Node, Place, Test, Tree};
use crate::{Feature, FeatureKind, Monotone, Objective, TreesError};

const MAGIC: &[u8; 4] = b"CNCT";
const VERSION: u16 = 1;
const HEADER: usize = 18;
/// A child that is a leaf has this bit.
const LEAF: u32 = 1 << 31;

const OBJECTIVES: [Objective; 4] = [
    Objective::Lambdamart,
    Objective::Pairwise,
    Objective::LogLoss,
    Objective::SquaredError,
];
const KINDS: [FeatureKind; 2] = [FeatureKind::Number, FeatureKind::Category];
const MONOTONES: [Monotone; 3] = [Monotone::Free, Monotone::Rising, Monotone::Falling];

fn code<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter()
        .position(|other| other == one)
        .map_or(u8::MAX, |at| at as u8)
}

fn place(place: Place) -> u32 {
    match place {
        Place::Node(node) => node,
        Place::Leaf(leaf) => leaf | LEAF,
    }
}

impl Forest {
    /// The forest as bytes: the same forest, the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend([0; HEADER - 6]);
        out.push(code(&OBJECTIVES, &self.objective));
        out.extend(self.base.to_le_bytes());
        let count = |out: &mut Vec<u8>, n: usize| out.extend((n as u32).to_le_bytes());
        count(&mut out, self.features.len());
        for feature in &self.features {
            count(&mut out, feature.name.len());
            out.extend(feature.name.as_bytes());
            out.push(code(&KINDS, &feature.kind));
            out.push(code(&MONOTONES, &feature.monotone));
        }
        count(&mut out, self.trees.len());
        for tree in &self.trees {
            count(&mut out, tree.nodes.len());
            for node in &tree.nodes {
                out.extend(node.feature.to_le_bytes());
                out.push(u8::from(node.missing_left));
                out.extend(place(node.left).to_le_bytes());
                out.extend(place(node.right).to_le_bytes());
                match &node.test {
                    Test::AtMost(bound) => out.extend(bound.to_le_bytes()),
                    Test::OneOf(set) => {
                        count(&mut out, set.len());
                        set.iter().for_each(|word| out.extend(word.to_le_bytes()));
                    }
                }
            }
            tree.leaves.iter().for_each(|leaf| out.extend(leaf.to_le_bytes()));
            tree.leaf_rows
                .iter()
                .for_each(|rows| out.extend(rows.to_le_bytes()));
        }
        let length = (out.len() - HEADER) as u64;
        let sum = crc32fast::hash(&out[HEADER..]);
        out[6..14].copy_from_slice(&length.to_le_bytes());
        out[14..HEADER].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The forest that was written to these bytes.
    ///
    /// # Errors
    /// Bytes that are not those of a forest, cut short or changed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Forest, TreesError> {
        read(bytes).map_err(TreesError::Damaged)
    }
}

fn read(bytes: &[u8]) -> Result<Forest, String> {
    let mut header = Reader { rest: bytes };
    if header.take(4)? != MAGIC {
        return Err("not a forest".to_owned());
    }
    let version = u16::from_le_bytes(header.array()?);
    if version != VERSION {
        return Err(format!("format version {version}, expected {VERSION}"));
    }
    let length = u64::from_le_bytes(header.array()?);
    let sum = u32::from_le_bytes(header.array()?);
    let mut from = header;
    if from.rest.len() as u64 != length {
        return Err(format!("{} bytes, {length} were written", from.rest.len()));
    }
    if crc32fast::hash(from.rest) != sum {
        return Err("its checksum is not the one written".to_owned());
    }
    let objective = from.coded(&OBJECTIVES)?;
    let base = f64::from_le_bytes(from.array()?);
    let n_features = from.count(6)?;
    let mut features = Vec::with_capacity(n_features);
    for _ in 0..n_features {
        let length = from.count(1)?;
        let name = std::str::from_utf8(from.take(length)?)
            .map_err(|e| e.to_string())?
            .to_owned();
        let (kind, monotone) = (from.coded(&KINDS)?, from.coded(&MONOTONES)?);
        features.push(Feature { name, kind, monotone });
    }
    let n_trees = from.count(12)?;
    let mut trees = Vec::with_capacity(n_trees);
    for _ in 0..n_trees {
        trees.push(tree(&mut from, &features)?);
    }
    if !from.rest.is_empty() {
        return Err(format!("{} bytes too many", from.rest.len()));
    }
    let forest = Forest {
        features,
        objective,
        base,
        trees,
    };
    forest.check()?;
    Ok(forest)
}

fn tree(from: &mut Reader<'_>, features: &[Feature]) -> Result<Tree, String> {
    let n_nodes = from.count(17)?;
    let mut nodes = Vec::with_capacity(n_nodes);
    for _ in 0..n_nodes {
        let feature = from.u32()?;
        let kind = features
            .get(feature as usize)
            .ok_or("a feature that is not there")?
            .kind;
        let missing_left = from.take(1)? == [1];
        let (left, right) = (from.place()?, from.place()?);
        let test = match kind {
            FeatureKind::Number => Test::AtMost(f32::from_le_bytes(from.array()?)),
            FeatureKind::Category => {
                let n = from.count(4)?;
                Test::OneOf((0..n).map(|_| from.u32()).collect::<Result<_, _>>()?)
            }
        };
        nodes.push(Node {
            feature,
            test,
            missing_left,
            left,
            right,
        });
    }
    let leaf = |from: &mut Reader<'_>| Ok::<f32, String>(f32::from_le_bytes(from.array()?));
    let leaves = (0..=n_nodes).map(|_| leaf(from)).collect::<Result<_, _>>()?;
    let leaf_rows = (0..=n_nodes).map(|_| from.u32()).collect::<Result<_, _>>()?;
    Ok(Tree {
        nodes,
        leaves,
        leaf_rows,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or("cut short")?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or("cut short")?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `size` bytes each.
    fn count(&mut self, size: usize) -> Result<usize, String> {
        let n = self.u32()? as usize;
        if n.saturating_mul(size) > self.rest.len() {
            return Err(format!("{n} parts where there is no room for them"));
        }
        Ok(n)
    }

    fn place(&mut self) -> Result<Place, String> {
        let word = self.u32()?;
        Ok(if word & LEAF == 0 {
            Place::Node(word)
        } else {
            Place::Leaf(word & !LEAF)
        })
    }

    fn coded<T: Copy>(&mut self, all: &[T]) -> Result<T, String> {
        let code = self.take(1)?[0];
        all.get(usize::from(code))
            .copied()
            .ok_or_else(|| format!("code {code}"))
    }
}
