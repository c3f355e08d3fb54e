use super::*;
use crate::metrics::StoreMetrics;
use crate::store::RandomSource;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn seeded() -> RandomSource {
    let counter = AtomicU64::new(1);
    Arc::new(move |buffer: &mut [u8]| {
        for chunk in buffer.chunks_mut(32) {
            let block = Sha256::digest(counter.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    })
}

/// A verifier and what it counts.
fn verifier(limits: VerifierLimits) -> (Verifier, StoreMetrics) {
    let metrics = StoreMetrics::default();
    (Verifier::new(limits, metrics.clone(), &seeded()), metrics)
}

#[test]
fn a_generated_secret_matches_its_own_hash_and_no_other() {
    let random = seeded();
    let (one, two) = (Secret::generate(&random), Secret::generate(&random));
    assert_eq!(one.expose().len(), 43);
    let hash = CredentialHash::of_secret(&one, &random);
    assert!(verify_secret(one.expose(), Some(hash.as_str())));
    assert!(!verify_secret(two.expose(), Some(hash.as_str())));
    assert!(!verify_secret(one.expose(), None));
    assert_ne!(hash, CredentialHash::of_secret(&one, &random), "each hash has a salt of its own");
}

#[test]
fn nothing_matches_the_place_holder_of_a_missing_hash() {
    let zero = Base64UrlUnpadded::encode_string(&[0; 32]);
    assert!(!verify_secret(&zero, None));
    assert!(!verify_secret(&zero, Some("damaged")));
}

#[test]
fn a_chosen_password_is_kept_in_the_standard_form_with_its_cost() {
    let hash = hash_password("correct horse battery", *b"saltsaltsaltsalt").unwrap();
    assert!(
        hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$"),
        "{}",
        hash.as_str()
    );
    assert!(verify_password("correct horse battery", Some(hash.as_str())).unwrap());
    assert!(!verify_password("correct horse battered", Some(hash.as_str())).unwrap());
}

#[test]
fn a_hash_made_by_the_reference_implementation_is_understood() {
    // From the test vectors of the reference implementation (phc-winner-argon2, src/test.c): Argon2id version 19,
    // 2 passes, 64 MiB, 1 lane.
    let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert!(verify_password("password", Some(hash)).unwrap());
    assert!(!verify_password("passwore", Some(hash)).unwrap());
}

#[test]
fn a_hash_of_unknown_form_or_unbounded_cost_is_refused() {
    let digest = Base64Unpadded::encode_string(&[7; 32]);
    for text in [
        "".to_owned(),
        "plain".to_owned(),
        "sha256$$".to_owned(),
        "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
        format!("$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$%{digest}"),
        format!("$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0${digest}"),
        format!("$argon2id$v=19$m=19456,t=99,p=1$c2FsdHNhbHRzYWx0${digest}"),
        format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0${digest}$more"),
    ] {
        assert!(CredentialHash::parse(&text).is_err(), "{text}");
    }
    assert!(
        CredentialHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0${digest}")).is_ok()
    );
}

#[test]
fn chosen_passwords_have_bounds_and_must_not_look_generated() {
    assert!(matches!(check_password("short"), Err(CredentialError::TooShort)));
    assert!(matches!(check_password(&"x".repeat(513)), Err(CredentialError::TooLong)));
    assert!(matches!(
        check_password(Secret::generate(&seeded()).expose()),
        Err(CredentialError::LooksGenerated)
    ));
    assert!(check_password("twelve chars").is_ok());
}

#[test]
fn secrets_do_not_show_in_debug() {
    let random = seeded();
    let secret = Secret::generate(&random);
    let shown = format!("{:?} {:?}", secret, CredentialHash::of_secret(&secret, &random));
    assert_eq!(shown, "Secret(hidden) CredentialHash(hidden)");
}

#[tokio::test]
async fn a_right_password_is_remembered_and_a_wrong_one_is_not() {
    let (verifier, counted) = verifier(VerifierLimits::default());
    let hash = verifier.hash("correct horse battery", &seeded()).await.unwrap();
    let after_hashing = counted.password_hashings.get();
    for _ in 0..50 {
        assert!(verifier.verify("correct horse battery", Some(hash.as_str())).await.unwrap());
    }
    assert_eq!(counted.password_hashings.get() - after_hashing, 1);
    for _ in 0..2 {
        assert!(!verifier.verify("wrong horse battery", Some(hash.as_str())).await.unwrap());
    }
    assert_eq!(counted.password_hashings.get() - after_hashing, 3);
}

#[tokio::test]
async fn a_changed_credential_forgets_the_old_password() {
    let ((verifier, _), random) = (verifier(VerifierLimits::default()), seeded());
    let old = verifier.hash("correct horse battery", &random).await.unwrap();
    let new = verifier.hash("another horse battery", &random).await.unwrap();
    assert!(verifier.verify("correct horse battery", Some(old.as_str())).await.unwrap());
    assert!(!verifier.verify("correct horse battery", Some(new.as_str())).await.unwrap());
    assert!(!verifier.verify("correct horse battery", None).await.unwrap());
}

#[tokio::test]
async fn an_unknown_name_costs_as_much_as_a_wrong_password() {
    let (verifier, counted) = verifier(VerifierLimits::default());
    let secret_hash = CredentialHash::of_secret(&Secret::generate(&seeded()), &seeded());
    for stored in [None, Some(secret_hash.as_str())] {
        let before = counted.password_hashings.get();
        assert!(!verifier.verify("correct horse battery", stored).await.unwrap());
        assert_eq!(counted.password_hashings.get() - before, 1, "a chosen password always costs one run");
    }
    let before = counted.password_hashings.get();
    assert!(!verifier.verify(Secret::generate(&seeded()).expose(), None).await.unwrap());
    assert_eq!(counted.password_hashings.get(), before, "a generated secret never does");
}

#[tokio::test]
async fn checks_beyond_the_limit_are_refused_rather_than_queued() {
    let (verifier, counted) = verifier(VerifierLimits { concurrent: 1, waiting: 1, remembered: 0 });
    let verifier = Arc::new(verifier);
    let checks: Vec<_> = (0..8)
        .map(|_| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move { verifier.verify("correct horse battery", None).await })
        })
        .collect();
    let mut refused = 0;
    for check in checks {
        refused += u64::from(matches!(check.await.unwrap(), Err(CredentialError::Busy)));
    }
    assert_eq!((refused, counted.password_checks_refused.get(), counted.password_hashings.get()), (6, 6, 2));
}

#[test]
fn the_memory_of_right_passwords_is_bounded() {
    let mut known = verifier::Known::with_capacity(2);
    for n in 0..5_u8 {
        known.insert([n; 32]);
        known.insert([n; 32]);
    }
    assert_eq!(
        (0..5).map(|n| known.contains(&[n; 32])).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
}
