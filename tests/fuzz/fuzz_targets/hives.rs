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
    // And a log of the old format over it, whose sectors no checksum guards: half of the bytes are its own.
    let (bins, sectors) = bytes.split_at(bytes.len() / 2);
    let mut unwritten = [&whole[..4096], bins].concat();
    unwritten[4] = 2;
    seal(&mut unwritten);
    let mut log = whole[..512].to_vec();
    log[28] = 1;
    log[40..44].copy_from_slice(&16_384_u32.to_le_bytes());
    seal(&mut log);
    let log = [log.as_slice(), b"DIRT", sectors].concat();
    let hives = [Hive::of_bytes(bytes.to_vec()), Hive::of_bytes(whole)].into_iter();
    let hives = hives.chain([Hive::of_bytes(unwritten).map(|hive| hive.recover_bytes(vec![bytes.to_vec(), log]))]);
    for hive in hives {
        let Ok(hive) = hive else { continue };
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

/// Writes the checksum of a head.
fn seal(head: &mut [u8]) {
    let sum = head[..508].chunks_exact(4).fold(0, |sum, number| sum ^ u32::from_le_bytes(number.try_into().unwrap()));
    head[508..512].copy_from_slice(&sum.to_le_bytes());
}
