//! Whatever the bytes, reading ends with rows or an error, never with a panic.

use matryo::data::reader::{ReadLimits, ReadOptions};
use matryo::domain::DatasetFormat;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::{gzip, parquet_file, read, texts, zstd};

/// Every way to be told a layout, guessing included.
const FORMATS: [Option<DatasetFormat>; 6] = [
    None,
    Some(DatasetFormat::Csv),
    Some(DatasetFormat::Tsv),
    Some(DatasetFormat::Json),
    Some(DatasetFormat::Jsonl),
    Some(DatasetFormat::Parquet),
];

fn read_every_way(bytes: &[u8]) {
    for format in FORMATS {
        let limits = ReadLimits { max_decompressed_bytes: 1 << 20, ..ReadLimits::default() };
        // The outcome does not matter: that there is one does. Errors must be fit to be shown, too.
        if let Err(error) = read(bytes, &ReadOptions { format, limits, ..ReadOptions::default() }) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A good file of each layout, to be damaged.
fn good_files() -> Vec<Vec<u8>> {
    let csv = b"id,anchor,positive\n1,a,\"p\nq\"\n2,\"b \"\"c\"\"\",d\n".to_vec();
    let lines =
        b"{\"id\":1,\"anchor\":\"a\",\"positive\":\"p\"}\n{\"id\":2,\"anchor\":\"b\",\"positive\":\"q\"}\n".to_vec();
    let parquet = |compression| {
        parquet_file(
            WriterProperties::builder().set_compression(compression).build(),
            &[vec![("anchor", texts(&["a", "b", "b"])), ("positive", texts(&["p", "q", "q"]))]],
        )
    };
    vec![
        gzip(&csv),
        zstd(&lines),
        csv,
        lines,
        b"[{\"anchor\":\"a\",\"positive\":\"p\"},{\"anchor\":\"b\",\"positive\":\"q\",\"x\":[1,{}]}]".to_vec(),
        b"{\"anchor\":[\"a\",\"b\"],\"positive\":[\"p\",\"q\"],\"x\":1}".to_vec(),
        parquet(Compression::UNCOMPRESSED),
        parquet(Compression::SNAPPY),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_every_way(&bytes);
    }

    #[test]
    fn any_text(text in "[\\[\\]{}\",:\\\\ \n\r\tau0-9\u{e4}]{0,200}") {
        read_every_way(text.as_bytes());
    }

    #[test]
    fn damaged_files(
        which in 0..8_usize,
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let mut bytes = good_files().swap_remove(which);
        for (index, byte) in damages {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_every_way(&bytes);
    }
}
