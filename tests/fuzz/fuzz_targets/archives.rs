//! Any bytes are an archive of every kind, or not; nothing of what is read of one goes past its budget.
#![no_main]

use std::io::{Cursor, copy, sink};

use lrsh::agent::engines::archive::{Kind, members};
use lrsh::agent::engines::budget::Budget;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::Zip, Kind::Tar, Kind::Gzip, Kind::Xz, Kind::Zstd] {
        let budget = Budget::new(1 << 22, 100, 2);
        let mut came = 0;
        let looked = members::<()>(&mut Cursor::new(bytes), kind, "fuzz", &budget, &mut |_, content| {
            came += copy(content, &mut sink()).unwrap_or(0);
            Ok(())
        });
        assert!(looked.is_ok() && came <= 1 << 22);
    }
});
