use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::audit::AuditLine;
use crate::audit::checkpoint::AuditSigner;

fn signer() -> AuditSigner {
    AuditSigner::from_pem(&AuditSigner::new_pem().unwrap()).unwrap()
}

/// Lines of a chain from its beginning; every fifth is a checkpoint, and the last one.
fn lines(count: u64, signer: &AuditSigner) -> Vec<Vec<u8>> {
    let mut end = ChainEnd::EMPTY;
    let lines = (1..=count).map(|number| {
        let time = SystemTime::now();
        let line = AuditLine {
            time: Some(time),
            method: "tools/call",
            tool_name: Some("é\"__search"),
            bytes_in: Some(number),
            instance: Some("weir-1"),
            ..AuditLine::default()
        };
        let mut line = match number % 5 == 0 || number == count {
            true => signer.checkpoint(&end, time, "weir-1"),
            false => line.write(),
        };
        end.end_line(&mut line);
        line
    });
    lines.collect()
}

/// A folder with a file of these bytes.
struct Written {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

fn written(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.jsonl");
    std::fs::write(&file, bytes).unwrap();
    Written {
        _folder: folder,
        file,
    }
}

fn check(bytes: &[u8], options: &VerifyOptions) -> Result<Verified, (u64, BreakKind)> {
    let written = written(bytes);
    let verified = verify(std::slice::from_ref(&written.file), options);
    verified.map_err(|broken| (broken.line, broken.kind))
}

#[test]
fn a_whole_chain_is_told_with_its_numbers_and_keys() {
    let signer = signer();
    let lines = lines(12, &signer);
    let keyed = VerifyOptions {
        key: Some(signer.public_key()),
        ..VerifyOptions::default()
    };
    let expected = Verified {
        lines: 12,
        bytes: lines.concat().len() as u64,
        first: 1,
        last: 12,
        checkpoints: 3,
        unsigned: 0,
        keys: vec![signer.public_key()],
        gaps: 0,
    };
    for options in [&VerifyOptions::default(), &keyed] {
        assert_eq!(check(&lines.concat(), options).as_ref(), Ok(&expected));
    }
    let unsigned = check(&lines[..7].concat(), &keyed).unwrap().unsigned;
    assert_eq!(unsigned, 2);
}

#[test]
fn a_change_a_removal_and_a_move_are_named_with_their_line() {
    let signer = signer();
    let lines = lines(9, &signer);
    let of = |lines: &[Vec<u8>]| check(&lines.concat(), &VerifyOptions::default()).unwrap_err();
    let mut changed = lines.clone();
    changed[3][10] ^= 1;
    assert_eq!(of(&changed), (4, BreakKind::Changed));
    let mut without = lines.clone();
    without.drain(3..6);
    assert_eq!(of(&without), (4, BreakKind::Missing(4, 7)));
    let mut headless = lines.clone();
    headless.remove(0);
    assert_eq!(of(&headless), (1, BreakKind::Missing(1, 2)));
    let mut swapped = lines.clone();
    swapped.swap(2, 6);
    assert_eq!(of(&swapped), (3, BreakKind::Moved(7, 3)));
    let mut twice = lines.clone();
    twice.insert(5, lines[2].clone());
    assert_eq!(of(&twice), (6, BreakKind::Moved(3, 6)));
    let torn = lines.concat();
    let torn = check(&torn[..torn.len() - 1], &VerifyOptions::default());
    assert_eq!(torn, Err((9, BreakKind::Torn)));
}

#[test]
fn a_chain_that_was_computed_anew_has_not_the_signatures_of_the_key() {
    let (ours, theirs) = (signer(), signer());
    let keyed = VerifyOptions {
        key: Some(ours.public_key()),
        ..VerifyOptions::default()
    };
    let forged = check(&lines(9, &theirs).concat(), &keyed);
    assert_eq!(forged, Err((5, BreakKind::Signature)));
    // Without any checkpoint at all.
    let mut end = ChainEnd::EMPTY;
    let bare = (0..1_002).flat_map(|_| {
        let mut line = AuditLine::default().write();
        end.end_line(&mut line);
        line
    });
    let bare: Vec<u8> = bare.collect();
    assert_eq!(check(&bare, &keyed), Err((1_001, BreakKind::Unsigned)));
    assert!(check(&bare, &VerifyOptions::default()).is_ok());
}

#[test]
fn a_missing_end_shows_by_checkpoints_that_were_kept_elsewhere() {
    let signer = signer();
    let lines = lines(12, &signer);
    let kept = written(&[&*lines[4], &*lines[9]].concat());
    let options = VerifyOptions {
        checkpoints: Some(kept.file.clone()),
        ..VerifyOptions::default()
    };
    assert!(check(&lines.concat(), &options).is_ok());
    assert!(check(&lines[..10].concat(), &options).is_ok());
    for count in 1..10 {
        let cut = check(&lines[..count].concat(), &options);
        assert_eq!(cut, Err((count as u64 + 1, BreakKind::Cut(10))), "{count}");
    }
    // Another chain of the same signer, with as many lines.
    let other = self::lines(12, &signer);
    let replaced = check(&other.concat(), &options);
    assert_eq!(replaced, Err((5, BreakKind::Rewritten(5))));
}

#[test]
fn a_chain_goes_on_over_files_whatever_their_order() {
    let signer = signer();
    let mut end = ChainEnd::EMPTY;
    let mut line = |method| {
        let line = AuditLine {
            time: Some(SystemTime::now()),
            method,
            ..AuditLine::default()
        };
        let mut line = line.write();
        end.end_line(&mut line);
        line
    };
    let parts = ["ping", AuditEvent::ROTATE, AuditEvent::ROTATE].map(|method| {
        let lines = [line(method), line("ping"), line("ping")];
        written(&lines.concat())
    });
    let [one, two, three] = parts.each_ref().map(|part| part.file.clone());
    let of = |files: &[&PathBuf]| {
        let files: Vec<_> = files.iter().map(|file| (*file).clone()).collect();
        verify(&files, &VerifyOptions::default())
    };
    assert_eq!(of(&[&three, &one, &two]).unwrap().lines, 9);
    let later = of(&[&three, &two]).unwrap();
    assert_eq!((later.first, later.last), (4, 9));
    let broken = of(&[&one, &three]).unwrap_err();
    assert_eq!(
        (broken.file, broken.kind),
        (three, BreakKind::Missing(4, 7))
    );
    let _ = signer;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_change_of_a_byte_is_found(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let bytes = lines(7, &signer()).concat();
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        changed[at] = byte;
        let found = check(&changed, &VerifyOptions::default());
        prop_assert_eq!(found.is_ok(), changed == bytes);
        let mut shorter = bytes.clone();
        shorter.remove(at);
        prop_assert!(check(&shorter, &VerifyOptions::default()).is_err());
        let mut longer = bytes;
        longer.insert(at, byte);
        prop_assert!(check(&longer, &VerifyOptions::default()).is_err());
    }

    #[test]
    fn every_removal_and_swap_of_lines_is_found(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let lines = lines(8, &signer());
        let (one, other) = (one.index(8), other.index(8));
        let mut swapped = lines.clone();
        swapped.swap(one, other);
        prop_assert_eq!(check(&swapped.concat(), &VerifyOptions::default()).is_ok(), one == other);
        let mut fewer = lines;
        fewer.remove(one);
        // A missing end shows only by what was kept elsewhere.
        prop_assert_eq!(check(&fewer.concat(), &VerifyOptions::default()).is_ok(), one == 7);
    }
}

#[test]
fn every_byte_of_a_file_counts() {
    let bytes = lines(3, &signer()).concat();
    let written = written(&bytes);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        std::fs::write(&written.file, &changed).unwrap();
        let found = verify(
            std::slice::from_ref(&written.file),
            &VerifyOptions::default(),
        );
        assert!(found.is_err(), "{at}");
    }
}
