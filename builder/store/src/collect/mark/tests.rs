//! Marking over small graphs that are written down.

use super::*;
use std::collections::BTreeMap;

/// A graph: what each node names.
#[derive(Default)]
struct Graph(BTreeMap<Node, Vec<Node>>);

impl Graph {
    fn mark(&self) -> Mark {
        let of = |is_action: bool| {
            let nodes = self.0.keys().filter(move |node| matches!(node, Node::Action(_)) == is_action);
            let all: std::collections::BTreeSet<[u8; 32]> = nodes.map(|node| *node.bytes()).collect();
            all.into_iter().collect::<Vec<_>>()
        };
        Mark::new(of(false), of(true))
    }
    fn follow(&self) -> impl FnMut(&Node) -> Result<Vec<Node>> + '_ {
        |node| match self.0.get(node) {
            Some(named) => Ok(named.clone()),
            None => Err(Error::Missing { digest: BlobDigest::from_bytes(*node.bytes()) }),
        }
    }
}

fn blob(name: &str) -> Node {
    Node::Blob(BlobDigest::of(name.as_bytes()))
}
fn document(name: &str) -> Node {
    Node::Document(BlobDigest::of(name.as_bytes()))
}
fn tree(name: &str) -> Node {
    Node::Tree(TreeDigest::from_bytes(*BlobDigest::of(name.as_bytes()).as_bytes()))
}
fn action(name: &str) -> Node {
    Node::Action(ActionDigest::of(name.as_bytes()))
}
fn root(node: Node, why: &str) -> Root {
    Root { node, kind: "test", why: why.to_owned() }
}

fn graph() -> Graph {
    Graph(BTreeMap::from([
        (document("index"), vec![document("manifest")]),
        (document("manifest"), vec![blob("config"), blob("layer")]),
        (blob("config"), vec![]),
        (blob("layer"), vec![]),
        (action("zlib"), vec![tree("out"), blob("log")]),
        (tree("out"), vec![tree("lib"), blob("file")]),
        (tree("lib"), vec![blob("file"), blob("other")]),
        (blob("log"), vec![]),
        (blob("file"), vec![]),
        (blob("other"), vec![]),
    ]))
}

#[test]
fn everything_that_a_root_names_is_kept_and_nothing_else() {
    let graph = graph();
    let mut mark = graph.mark();
    mark.hold(root(document("index"), "published"), &mut graph.follow());
    for kept in [document("index"), document("manifest"), blob("config"), blob("layer")] {
        assert!(mark.keeps(&kept), "{kept}");
    }
    for loose in [action("zlib"), tree("out"), tree("lib"), blob("file"), blob("log")] {
        assert!(!mark.keeps(&loose), "{loose}");
    }
    assert_eq!(mark.loose_actions().len(), 1);
    mark.hold(root(action("zlib"), "current"), &mut graph.follow());
    assert!(graph.0.keys().all(|node| mark.keeps(node)) && mark.loose_actions().is_empty() && mark.gaps.is_empty());
}

#[test]
fn why_something_is_kept_is_told_up_to_the_root() {
    let graph = graph();
    let mut mark = graph.mark();
    mark.hold(root(document("index"), "publication c1"), &mut graph.follow());
    let named = |node: Node| node.to_string();
    let chain = mark.why(&blob("layer")).unwrap();
    assert_eq!(chain, [named(document("manifest")), named(document("index")), "publication c1".to_owned()]);
    assert_eq!(mark.why(&document("index")).unwrap(), ["publication c1"]);
    assert_eq!(mark.why(&blob("file")), None);
}

#[test]
fn a_blob_that_is_kept_as_bytes_and_later_as_a_tree_is_followed_then() {
    let graph = graph();
    let mut mark = graph.mark();
    mark.hold(root(tree("lib").stored(), "pinned as bytes"), &mut graph.follow());
    assert!(!mark.keeps(&blob("other")));
    mark.hold(root(tree("lib"), "pinned as a tree"), &mut graph.follow());
    assert!(mark.keeps(&blob("other")));
}

#[test]
fn what_cannot_be_followed_is_a_gap_and_what_names_nothing_is_only_absent() {
    let mut graph = graph();
    graph.0.remove(&tree("lib"));
    graph.0.remove(&blob("log"));
    let mut mark = graph.mark();
    mark.hold(root(action("zlib"), "current"), &mut graph.follow());
    assert_eq!(mark.gaps.len(), 1);
    assert_eq!(mark.gaps[0].what, tree("lib").to_string());
    assert_eq!(mark.gaps[0].why.last().map(String::as_str), Some("current"));
    assert_eq!(mark.absent.len(), 1);
}

#[test]
fn what_came_after_the_mark_keeps_what_was_there_before() {
    let mut graph = graph();
    let mut mark = graph.mark();
    graph.0.insert(tree("new"), vec![blob("file"), blob("newer")]);
    mark.hold(root(tree("new"), "in use"), &mut graph.follow());
    assert!(mark.keeps(&tree("new")) && mark.keeps(&blob("file")) && mark.gaps.is_empty());
}

#[test]
fn what_names_itself_in_a_circle_ends() {
    let mut graph = Graph::default();
    graph.0.insert(document("a"), vec![document("b")]);
    graph.0.insert(document("b"), vec![document("a")]);
    let mut mark = graph.mark();
    mark.hold(root(document("a"), "pinned"), &mut graph.follow());
    assert!(mark.keeps(&document("b")));
}
