//! `audit`: the record file.

use super::*;

#[test]
fn a_record_file_has_defaults_and_a_path_relative_to_the_config() {
    let audit = config("audit: { file: audit/weir.jsonl }\n").audit.unwrap();
    assert!(audit.file.is_absolute() && audit.file.ends_with("audit/weir.jsonl"));
    assert_eq!(audit.arguments, AuditedData::Hash);
    assert_eq!(audit.results, AuditedData::None);
    assert_eq!(audit.on_failure, AuditFailure::Refuse);
    assert_eq!(audit.fsync, FlushPolicy::Every(Duration::from_secs(1)));
    let rotate = AuditRotation {
        bytes: 64 << 20,
        every: None,
        keep: None,
    };
    assert_eq!(audit.rotate, rotate);
    assert!(config("{}").audit.is_none());
}

#[test]
fn every_mistake_of_a_record_file_is_named() {
    insta::assert_snapshot!(errors("\
audit:
  file: ''
  arguments: hashed
  sign: { value: '-----BEGIN PRIVATE KEY-----' }
  hash_key: { value: short }
  fsync: sometimes
  rotate: { bytes: 1KiB, every: 1s, keep: 0 }
  checkpoints: ''
"), @"");
}
