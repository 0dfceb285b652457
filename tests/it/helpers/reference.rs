//! The reference numbers of ../shared and the real weights that some tests need. Neither is part of the repository, so
//! a test that lacks one says so on stderr and passes.

use std::path::{Path, PathBuf};

/// A JSON file below tests/fixtures.
pub(crate) fn fixture<T: serde::de::DeserializeOwned>(path: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let bytes = std::fs::read(&path).expect("the fixture is committed");
    serde_json::from_slice(&bytes).expect("the fixture is JSON")
}

/// A file or folder of ../shared; none, and a line on stderr, where it is absent.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    present(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path),
        "it comes with the workspace, not the repository",
    )
}

/// The folder of all-MiniLM-L6-v2: `MATRYO_TEST_MINILM`, or where `tests/setup` puts it; none, and a line on stderr,
/// where it is absent.
pub(crate) fn minilm() -> Option<PathBuf> {
    let folder = std::env::var_os("MATRYO_TEST_MINILM").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-models/all-MiniLM-L6-v2"),
        PathBuf::from,
    );
    present(folder, "tests/setup fetches it, or MATRYO_TEST_MINILM names its folder")
}

fn present(path: PathBuf, how: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent ({how})", path.display());
    None
}
