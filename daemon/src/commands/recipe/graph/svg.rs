//! The graph as a picture, drawn here, so that no other program is needed.
//!
//! ```text
//! column 0     1         2        3            a package stands right of all that need it, an image left of all
//! images    nginx      zlib     musl           arrows go from left to right; dashed ones are needed only to build
//! ```

use super::Graph;
use anneal_content::PackageName;
use std::{collections::BTreeMap, fmt::Write as _};

const COLUMN: usize = 230;
const ROW: usize = 44;
const HEIGHT: usize = 28;
const MARGIN: usize = 20;
/// What one letter takes, at most, in the font and size below.
const LETTER: usize = 8;

/// A box and what stands in it.
struct Node {
    label: String,
    column: usize,
    row: usize,
    image: bool,
}

impl Node {
    fn left(&self) -> usize {
        MARGIN + self.column * COLUMN
    }
    fn width(&self) -> usize {
        (self.label.chars().count() * LETTER + 16).min(COLUMN - 40)
    }
    fn middle(&self) -> usize {
        MARGIN + self.row * ROW + HEIGHT / 2
    }
}

impl Graph {
    /// The graph as SVG.
    pub(in crate::commands::recipe) fn svg(&self) -> String {
        let columns = self.columns();
        let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
        let mut place = |column: usize| {
            let row = rows.entry(column).or_default();
            *row += 1;
            *row - 1
        };
        let image = |name: &String, row| Node { label: name.clone(), column: 0, row, image: true };
        let images: BTreeMap<String, Node> = self
            .images
            .keys()
            .map(|name| name.to_string())
            .map(|name| (name.clone(), image(&name, place(0))))
            .collect();
        let mut packages: BTreeMap<&PackageName, Node> = BTreeMap::new();
        for (name, node) in &self.packages {
            let column = columns.get(name).copied().unwrap_or(1);
            let label = format!("{name} {}", node.version);
            packages.insert(name, Node { label, column, row: place(column), image: false });
        }
        let width = 2 * MARGIN + (rows.keys().max().map_or(1, |last| last + 1)) * COLUMN;
        let height = 2 * MARGIN + rows.values().max().copied().unwrap_or(1) * ROW;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n<title>catalogue</title>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n"
        );
        for (name, contains) in &self.images {
            let from = images.get(&name.to_string());
            for needed in contains {
                text.push_str(&arrow(from, packages.get(needed), false));
            }
        }
        for (name, node) in &self.packages {
            let from = packages.get(name);
            for needed in &node.runtime {
                text.push_str(&arrow(from, packages.get(needed), false));
            }
            for needed in node.build.difference(&node.runtime) {
                text.push_str(&arrow(from, packages.get(needed), true));
            }
        }
        images.values().chain(packages.values()).for_each(|node| text.push_str(&boxed(node)));
        text.push_str("</svg>\n");
        text
    }

    /// How many steps a package is from the farthest that needs it, and one more for the images before them.
    fn columns(&self) -> BTreeMap<PackageName, usize> {
        let mut columns: BTreeMap<PackageName, usize> = self.packages.keys().map(|name| (name.clone(), 1)).collect();
        // A catalogue has no cycles, so this ends after as many rounds as the longest way has steps.
        for _ in 0..self.packages.len() {
            let mut moved = false;
            for (name, node) in &self.packages {
                let next = columns.get(name).copied().unwrap_or(1) + 1;
                for needed in node.runtime.iter().chain(&node.build) {
                    if let Some(column) = columns.get_mut(needed).filter(|column| **column < next) {
                        *column = next;
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        columns
    }
}

fn arrow(from: Option<&Node>, to: Option<&Node>, dashed: bool) -> String {
    let (Some(from), Some(to)) = (from, to) else { return String::new() };
    let (x1, y1, x2, y2) = (from.left() + from.width(), from.middle(), to.left(), to.middle());
    let bend = x2.saturating_sub(x1) / 2;
    let dashes = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    format!(
        "<path d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#667\"{dashes} marker-end=\"url(#tip)\"/>\n",
        x1 + bend,
        x2.saturating_sub(bend)
    )
}

fn boxed(node: &Node) -> String {
    let (x, y, width, middle) = (node.left(), node.middle() - HEIGHT / 2, node.width(), node.middle());
    let fill = if node.image { "#e3ecff" } else { "#fff" };
    let mut text = format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"4\" fill=\"{fill}\" stroke=\"#334\"/>\n"
    );
    let most = (width - 8) / LETTER;
    let mut label: String = node.label.chars().take(most).collect();
    if label != node.label {
        label = label.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect();
    }
    let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{}</text>", x + 8, middle + 4, escaped(&label));
    text
}

/// A version may have an ampersand.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::commands::recipe::graph::tests::example;

    #[test]
    fn what_is_needed_stands_right_of_what_needs_it_and_every_arrow_is_drawn() {
        let svg = example().svg();
        let x = |label: &str| -> usize {
            let text = svg.lines().find(|line| line.starts_with("<text") && line.contains(label)).unwrap();
            text.split('"').nth(1).unwrap().parse().unwrap()
        };
        assert!(x(">app<") < x("app 1.0") && x("app 1.0") < x("zlib 1.3") && x("app 1.0") < x("make 4.4"), "{svg}");
        assert_eq!(svg.matches("<path d=\"M").count(), 1 + 3, "the tip and three arrows: {svg}");
        assert_eq!(svg.matches("stroke-dasharray").count(), 1, "{svg}");
    }

    #[test]
    fn the_picture_is_well_formed() {
        let svg = example().svg();
        let opened = svg.matches('<').count();
        assert_eq!(opened, svg.matches('>').count());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("&a "), "{svg}");
    }
}
