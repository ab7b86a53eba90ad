//! Marking: from the roots along every reference, over numbers in place of digests.
//!
//! Pure: what there is comes as sorted digests, and what refers to what is asked of the caller. Each blob and each action
//! gets a number of 32 bits; what is kept is one bit, and why it is kept is one number: the root, or the thing that names
//! it. A store of a million blobs takes 45 MB.

use crate::{Error, Result};
use anneal_content::{ActionDigest, BlobDigest, TreeDigest};
use std::collections::HashSet;

/// Finds what a thing names.
pub(crate) type Follow<'a> = dyn FnMut(&Node) -> Result<Vec<Node>> + 'a;

/// Something that refers to other things, or that they refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// Bytes that name nothing, as far as collecting is concerned.
    Blob(BlobDigest),
    /// A blob that names others in a form that the layers above know: a manifest, a catalogue.
    Document(BlobDigest),
    /// A tree: its directories and files.
    Tree(TreeDigest),
    /// All results of an action: their trees and logs.
    Action(ActionDigest),
}

impl Node {
    /// What is stored for it: a blob, or an action's results.
    pub(crate) fn stored(self) -> Self {
        match self {
            Self::Tree(tree) => Self::Blob(BlobDigest::from_bytes(*tree.as_bytes())),
            Self::Document(blob) => Self::Blob(blob),
            other => other,
        }
    }

    /// Everything that is stored as this is.
    pub(crate) fn forms(self) -> Vec<Self> {
        match self.stored() {
            Self::Blob(blob) => {
                let tree = TreeDigest::from_bytes(*blob.as_bytes());
                vec![Self::Blob(blob), Self::Document(blob), Self::Tree(tree)]
            }
            other => vec![other],
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Blob(digest) | Self::Document(digest) => digest.as_bytes(),
            Self::Tree(digest) => digest.as_bytes(),
            Self::Action(digest) => digest.as_bytes(),
        }
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Document(digest) => write!(f, "document {digest}"),
            Self::Tree(digest) => write!(f, "tree {digest}"),
            Self::Action(digest) => write!(f, "the results of action {digest}"),
        }
    }
}

/// Something that is kept for its own sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What.
    pub node: Node,
    /// Which kind of thing, for sums: `layers`, `sources`.
    pub kind: &'static str,
    /// Why, for people.
    pub why: String,
}

/// Something that is kept and could not be followed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// What.
    pub what: String,
    /// What is wrong with it.
    pub wrong: String,
    /// Why it is kept.
    pub why: Vec<String>,
}

/// The kind of what running work touched.
pub(super) const IN_USE: &str = "in use";

/// What a thing is kept for: a root where the highest bit is set, else what names it.
const ROOT: u32 = 1 << 31;
const NOTHING: u32 = u32::MAX;

/// One bit for each number.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }
    fn has(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
    /// Sets a bit; says whether it was not set before.
    fn insert(&mut self, id: u32) -> bool {
        let Some(word) = self.0.get_mut(id as usize / 64) else { return false };
        let before = *word;
        *word |= 1 << (id % 64);
        *word != before
    }
}

/// What is kept of what there was at one moment.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// Sorted.
    blobs: Vec<[u8; 32]>,
    /// Sorted; their numbers come after those of the blobs.
    actions: Vec<[u8; 32]>,
    kept: Bits,
    /// Followed as a tree, as a document.
    trees: Bits,
    documents: Bits,
    because: Vec<u32>,
    /// Kind and reason.
    roots: Vec<(&'static str, String)>,
    /// What is named and came after that moment, or is missing.
    others: HashSet<Node>,
    pub(crate) gaps: Vec<Gap>,
    /// Kept blobs that name nothing and were not there at that moment.
    pub(crate) absent: Vec<(BlobDigest, Vec<String>)>,
}

impl Mark {
    /// Nothing is kept yet. Both lists are sorted and without repetitions.
    pub(crate) fn new(blobs: Vec<[u8; 32]>, actions: Vec<[u8; 32]>) -> Self {
        let count = blobs.len() + actions.len();
        Self {
            kept: Bits::new(count),
            trees: Bits::new(blobs.len()),
            documents: Bits::new(blobs.len()),
            because: vec![NOTHING; count],
            blobs,
            actions,
            ..Self::default()
        }
    }

    fn id(&self, node: &Node) -> Option<u32> {
        let at = match node {
            Node::Action(digest) => self.actions.binary_search(digest.as_bytes()).ok()? + self.blobs.len(),
            other => self.blobs.binary_search(other.bytes()).ok()?,
        };
        u32::try_from(at).ok().filter(|id| *id < ROOT)
    }

    /// Keeps a root and all that it names, directly or not.
    pub(crate) fn hold(&mut self, root: Root, follow: &mut Follow<'_>) {
        self.hold_all(&[root.node], root.kind, root.why.clone(), follow);
    }

    /// Keeps many things for one reason.
    pub(crate) fn hold_all(&mut self, nodes: &[Node], kind: &'static str, why: String, follow: &mut Follow<'_>) {
        let number = u32::try_from(self.roots.len()).unwrap_or(ROOT).min(ROOT - 2);
        self.roots.push((kind, why));
        let mut todo: Vec<(Node, u32)> = nodes.iter().map(|node| (*node, ROOT | number)).collect();
        while let Some((node, because)) = todo.pop() {
            let Some(id) = self.id(&node) else {
                if self.others.insert(node) {
                    todo.extend(self.follow_other(&node, because, follow).into_iter().map(|next| (next, because)));
                }
                continue;
            };
            let is_new = self.kept.insert(id);
            if is_new && let Some(slot) = self.because.get_mut(id as usize) {
                *slot = because;
            }
            let is_first = match node {
                Node::Blob(_) => false,
                Node::Document(_) => self.documents.insert(id),
                Node::Tree(_) => self.trees.insert(id),
                Node::Action(_) => is_new,
            };
            if is_first {
                match follow(&node) {
                    Ok(named) => todo.extend(named.into_iter().map(|next| (next, id))),
                    Err(error) => self.gap(&node, &error, because),
                }
            }
        }
    }

    /// What came after the moment of the mark can still name what was there before it.
    fn follow_other(&mut self, node: &Node, because: u32, follow: &mut Follow<'_>) -> Vec<Node> {
        // who looked for something that is not there, or never was, is not wronged
        let is_looked_for = self.root(because).is_some_and(|(kind, _)| *kind == IN_USE);
        if let Node::Blob(digest) = node {
            if !is_looked_for {
                self.absent.push((*digest, self.chain(because)));
            }
            return Vec::new();
        }
        match follow(node) {
            Ok(named) => return named,
            // what an earlier collection took is no riddle
            Err(Error::Collected { .. }) => {}
            Err(Error::Missing { digest }) if is_looked_for && digest.as_bytes() == node.bytes() => {}
            Err(error) => self.gap(node, &error, because),
        }
        Vec::new()
    }

    fn gap(&mut self, node: &Node, error: &Error, because: u32) {
        let mut wrong = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            wrong = format!("{wrong}: {inner}");
            cause = inner.source();
        }
        let why = self.chain(because);
        self.gaps.push(Gap { what: node.to_string(), wrong, why });
    }

    /// Whether something is kept.
    pub(crate) fn keeps(&self, node: &Node) -> bool {
        self.id(node).is_some_and(|id| self.kept.has(id)) || node.forms().iter().any(|form| self.others.contains(form))
    }

    /// From something that is kept to the root that it is kept for; `None` where it is not kept.
    pub(crate) fn why(&self, node: &Node) -> Option<Vec<String>> {
        let id = self.id(node).filter(|id| self.kept.has(*id))?;
        Some(self.chain(self.because.get(id as usize).copied().unwrap_or(NOTHING)))
    }

    fn chain(&self, mut because: u32) -> Vec<String> {
        let mut chain = Vec::new();
        while because & ROOT == 0 {
            chain.push(self.name(because));
            because = self.because.get(because as usize).copied().unwrap_or(NOTHING);
        }
        chain.extend(self.root(because).map(|(_, why)| why.clone()));
        chain
    }

    fn name(&self, id: u32) -> String {
        let at = id as usize;
        match (self.blobs.get(at), self.actions.get(at.saturating_sub(self.blobs.len()))) {
            (Some(bytes), _) if self.trees.has(id) => format!("tree {}", TreeDigest::from_bytes(*bytes)),
            (Some(bytes), _) => format!("document {}", BlobDigest::from_bytes(*bytes)),
            (None, Some(bytes)) => format!("the results of action {}", ActionDigest::from_bytes(*bytes)),
            (None, None) => format!("number {id}"),
        }
    }

    fn root(&self, because: u32) -> Option<&(&'static str, String)> {
        self.roots.get((because & !ROOT) as usize).filter(|_| because & ROOT != 0 && because != NOTHING)
    }

    /// The kind of the root that the blob with this number is kept for; `None`: it is not kept.
    pub(crate) fn kind(&self, at: usize) -> Option<&'static str> {
        let id = u32::try_from(at).ok().filter(|id| self.kept.has(*id))?;
        let mut because = self.because.get(id as usize).copied()?;
        while because & ROOT == 0 {
            because = self.because.get(because as usize).copied()?;
        }
        self.root(because).map(|(kind, _)| *kind)
    }

    /// Every blob there was, in order of the numbers.
    pub(crate) fn blobs(&self) -> impl ExactSizeIterator<Item = BlobDigest> + '_ {
        self.blobs.iter().map(|bytes| BlobDigest::from_bytes(*bytes))
    }

    /// Actions that are not kept.
    pub(crate) fn loose_actions(&self) -> Vec<ActionDigest> {
        let base = self.blobs.len();
        let loose = self.actions.iter().enumerate().filter(|(at, _)| {
            let id = u32::try_from(at + base).unwrap_or(NOTHING);
            !self.kept.has(id)
        });
        loose.map(|(_, bytes)| ActionDigest::from_bytes(*bytes)).collect()
    }
}

#[cfg(test)]
mod tests;
