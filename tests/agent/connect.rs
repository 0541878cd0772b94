//! `connect` answers with the device.

use crate::kit::device::Device;
use lrsh::protocol::Status;

#[test]
fn connect_names_the_device() {
    let answer = Device::live().run("connect", &[], &[]);
    assert_eq!(answer.completed.status, Status::Completed);
    assert_eq!(answer.object()["device"]["platform"], "linux");
}

#[test]
fn an_unknown_verb_fails_and_says_so() {
    let answer = Device::live().run("nonsense", &[], &[]);
    assert_eq!(answer.completed.status, Status::Failed);
    assert_eq!(answer.completed.errors[0].code, "not_on_platform");
}
