//! The code blocks of a page of Markdown, to be run as they are written.

/// A page's blocks as (what stands behind the fence, text).
pub(crate) fn code_blocks(page: &str) -> Vec<(String, String)> {
    let mut parts = page.split("\n```").skip(1);
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').expect("a fence ends its line");
        blocks.push((kind.to_owned(), text.to_owned()));
    }
    blocks
}
