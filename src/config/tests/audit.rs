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
"), @r"
    weir.yaml:2:9: audit.file: must not be empty
    weir.yaml:3:14: audit.arguments: expected none, hash or redacted, found `hashed` (did you mean `hash`?)
    weir.yaml:4:3: audit.sign: not PEM: `-----BEGIN …-----`, lines of base64, `-----END …-----`
    weir.yaml:5:3: audit.hash_key: at least 32 bytes of text are needed, this one has 5; `openssl rand -base64 32` makes one
    weir.yaml:6:10: audit.fsync: write `always`, `never` or a duration, such as `1s`
    weir.yaml:7:20: audit.rotate.bytes: at least 64KiB are needed
    weir.yaml:7:33: audit.rotate.every: at least 1m is needed
    weir.yaml:7:43: audit.rotate.keep: must be from 1 to 4294967295
    weir.yaml:8:16: audit.checkpoints: must not be empty
    ");
}
