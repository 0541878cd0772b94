//! Any bytes are a hive or not, and everything that can be reached in it is read or is an error: never for ever, never more than
//! its bounds allow.
#![no_main]

use lrsh::agent::platform::windows_root::hive::{Data, Hive, MAX_DATA, MAX_LIST};

/// How many keys are looked at: a hostile hive may show one key in as many places as it likes.
const KEYS: usize = 200;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What a random start would hardly ever find: a head that leads to bins.
    let mut whole = vec![0; 4096];
    whole[..4].copy_from_slice(b"regf");
    whole[24] = 5;
    whole[36] = 32;
    whole[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    whole.extend_from_slice(bytes);
    for bytes in [bytes.to_vec(), whole] {
        let Ok(hive) = Hive::of_bytes(bytes) else { continue };
        let _ = (hive.is_dirty(), hive.open(r"Software\Run"));
        let mut todo = vec![hive.root()];
        let mut looked = 0;
        while let Some(key) = todo.pop() {
            let Ok(key) = key else { continue };
            looked += 1;
            if looked > KEYS {
                break;
            }
            let values = hive.values(&key).unwrap_or_default();
            assert!(values.len() <= MAX_LIST);
            for value in values.into_iter().flatten().take(KEYS) {
                if let Ok(Data::Bytes(bytes)) = hive.data(&value) {
                    assert!(bytes.len() <= MAX_DATA);
                }
            }
            let keys = hive.subkeys(&key).unwrap_or_default();
            assert!(keys.len() <= MAX_LIST);
            todo.extend(keys.into_iter().take(KEYS));
        }
    }
});
