//! Tokens of every algorithm, good ones and forged ones.

use std::path::Path;

use cairn_auth::AuthRevision;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::json;

use crate::settings::Digest;

use super::*;

/// A key that signs nothing but the tokens of these tests.
const RSA: &str = include_str!("rsa_for_tests.pem");

fn private_key(algorithm: Algorithm) -> String {
    let generate = |kind| rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
    match algorithm {
        Algorithm::Hs(_) => "a secret that nobody knows".to_owned(),
        Algorithm::Rs(_) | Algorithm::Ps(_) => RSA.to_owned(),
        Algorithm::Es256 => generate(&PKCS_ECDSA_P256_SHA256),
        Algorithm::Es384 => generate(&PKCS_ECDSA_P384_SHA384),
        Algorithm::EdDsa => generate(&PKCS_ED25519),
    }
}

fn settings(algorithm: Algorithm, directory: &Path, key: &str) -> JwtSettings {
    let path = directory.join("private.pem");
    std::fs::write(&path, key).unwrap();
    JwtSettings {
        algorithm,
        public_key: None,
        private_key: Some(path),
        ttl: Duration::from_secs(300),
    }
}

fn user() -> AuthInfo {
    let revision = AuthRevision::from_wire(7).unwrap();
    AuthInfo::new("u".into(), revision).unwrap()
}

/// A token with any claims, signed with the key of `jwt`.
fn signed(jwt: &Jwt, header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jwt.current.load().keys.sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_of_every_algorithm_names_its_user_and_no_other_key_accepts_it() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::ALL {
        let key = private_key(algorithm);
        let jwt = Jwt::load(&settings(algorithm, directory.path(), &key)).unwrap();
        let token = jwt.sign(&user()).unwrap();
        // Twice: the second time from memory.
        for _ in 0..2 {
            assert_eq!(jwt.verify(&token), Ok(user()), "{algorithm:?}");
        }
        let mut forged = token.clone().into_bytes();
        let at = token.find('.').unwrap() + 5;
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(jwt.verify(&forged).is_err(), "{algorithm:?}");
        let rsa = matches!(algorithm, Algorithm::Rs(_) | Algorithm::Ps(_));
        if !rsa {
            let other = private_key(algorithm).replace("nobody", "anybody");
            let other = Jwt::load(&settings(algorithm, directory.path(), &other)).unwrap();
            assert!(other.verify(&token).is_err(), "{algorithm:?}");
        }
    }
}

#[test]
fn a_token_must_name_the_algorithm_that_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let algorithm = Algorithm::Rs(Digest::Sha256);
    let jwt = Jwt::load(&settings(algorithm, directory.path(), RSA)).unwrap();
    let claims = json!({ "username": "u", "revision": 7, "exp": now() + 60.0 });
    for alg in ["none", "HS256", "RS384", "PS256", ""] {
        let token = signed(&jwt, &json!({ "alg": alg, "typ": "JWT" }), &claims);
        assert!(jwt.verify(&token).is_err(), "{alg}");
    }
    let token = signed(&jwt, &json!({ "alg": "RS256" }), &claims);
    assert_eq!(jwt.verify(&token), Ok(user()));
}

#[test]
fn claims_that_are_missing_or_of_a_wrong_type_make_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let algorithm = Algorithm::EdDsa;
    let key = private_key(algorithm);
    let jwt = Jwt::load(&settings(algorithm, directory.path(), &key)).unwrap();
    let header = json!({ "alg": "EdDSA" });
    let (past, future) = (now() - 60.0, now() + 60.0);
    for claims in [
        json!({}),
        json!([]),
        json!("u"),
        json!({ "username": "u" }),
        json!({ "revision": 7 }),
        json!({ "username": 5, "revision": 7 }),
        json!({ "username": "u", "revision": "7" }),
        json!({ "username": "u", "revision": 0 }),
        json!({ "username": "u", "revision": -1 }),
        json!({ "username": "", "revision": 7 }),
        json!({ "username": "u", "revision": 7, "exp": past }),
        json!({ "username": "u", "revision": 7, "exp": "never" }),
        json!({ "username": "u", "revision": 7, "nbf": future }),
    ] {
        let token = signed(&jwt, &header, &claims);
        assert!(jwt.verify(&token).is_err(), "{claims}");
    }
    for claims in [
        json!({ "username": "u", "revision": 7 }),
        json!({ "username": "u", "revision": 7.0, "exp": future, "nbf": past, "aud": "x" }),
    ] {
        let token = signed(&jwt, &header, &claims);
        assert_eq!(jwt.verify(&token), Ok(user()), "{claims}");
    }
    for token in [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b",
        "\u{e9}.x.y",
        &"a".repeat(1 << 20),
    ] {
        assert!(jwt.verify(token).is_err());
    }
}

#[test]
fn a_public_key_alone_checks_and_does_not_sign() {
    let directory = tempfile::tempdir().unwrap();
    for (algorithm, kind) in [
        (Algorithm::Es256, &PKCS_ECDSA_P256_SHA256),
        (Algorithm::Es384, &PKCS_ECDSA_P384_SHA384),
        (Algorithm::EdDsa, &PKCS_ED25519),
    ] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let both = settings(algorithm, directory.path(), &pair.serialize_pem());
        let public = directory.path().join("public.pem");
        std::fs::write(&public, pair.public_key_pem()).unwrap();
        let both = JwtSettings {
            public_key: Some(public.clone()),
            ..both
        };
        let token = Jwt::load(&both).unwrap().sign(&user()).unwrap();
        let only_public = JwtSettings {
            private_key: None,
            ..both.clone()
        };
        let jwt = Jwt::load(&only_public).unwrap();
        assert_eq!(jwt.verify(&token), Ok(user()));
        let refused = jwt.sign(&user());
        assert!(matches!(refused, Err(CredentialError::VerifyOnly)));
        // The key of another pair.
        let other = rcgen::KeyPair::generate_for(kind).unwrap();
        std::fs::write(&public, other.public_key_pem()).unwrap();
        assert!(matches!(Jwt::load(&both), Err(JwtKeyError::Mismatch)));
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::ALL {
        let none = JwtSettings {
            private_key: None,
            ..settings(algorithm, directory.path(), "")
        };
        assert!(matches!(Jwt::load(&none), Err(JwtKeyError::Missing { .. })));
        let nowhere = JwtSettings {
            private_key: Some(directory.path().join("nowhere")),
            ..none.clone()
        };
        assert!(matches!(
            Jwt::load(&nowhere),
            Err(JwtKeyError::Unreadable { .. })
        ));
        if !matches!(algorithm, Algorithm::Hs(_)) {
            for content in [
                "",
                "no key",
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            ] {
                let invalid = settings(algorithm, directory.path(), content);
                let error = Jwt::load(&invalid).err();
                assert!(
                    matches!(error, Some(JwtKeyError::Invalid { .. })),
                    "{algorithm:?}"
                );
            }
        }
    }
}

/// Makes the next call look at the files, as a second after the last look.
fn let_time_pass(jwt: &Jwt) {
    let mut looked = jwt.looked.lock();
    *looked = looked.checked_sub(FILES_PATIENCE).unwrap();
}

#[test]
fn replaced_keys_are_read_anew_and_end_the_tokens_of_the_old() {
    let directory = tempfile::tempdir().unwrap();
    // There is only one key of RSA here; which algorithm it is makes no difference to its files.
    let is_rsa = |it: &Algorithm| matches!(it, Algorithm::Rs(_) | Algorithm::Ps(_));
    for algorithm in Algorithm::ALL.into_iter().filter(|it| !is_rsa(it)) {
        let key = private_key(algorithm);
        let settings = settings(algorithm, directory.path(), &key);
        let jwt = Jwt::load(&settings).unwrap();
        let old = jwt.sign(&user()).unwrap();
        let path = settings.private_key.as_ref().unwrap();
        std::fs::write(path, private_key(algorithm).replace("nobody", "anybody")).unwrap();
        let_time_pass(&jwt);
        assert!(jwt.verify(&old).is_err(), "{algorithm:?}");
        let new = jwt.sign(&user()).unwrap();
        assert_eq!(jwt.verify(&new), Ok(user()), "{algorithm:?}");
        // Another member, with the new key alone.
        assert_eq!(Jwt::load(&settings).unwrap().verify(&new), Ok(user()));
        std::fs::write(path, key).unwrap();
        let_time_pass(&jwt);
        assert_eq!(jwt.verify(&old), Ok(user()), "{algorithm:?}: the old again");
        assert!(jwt.verify(&new).is_err(), "{algorithm:?}");
    }
}

#[test]
fn replaced_files_that_hold_no_keys_leave_the_old_ones_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let algorithm = Algorithm::Es256;
    let pair = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let public = directory.path().join("public.pem");
    std::fs::write(&public, pair.public_key_pem()).unwrap();
    let settings = JwtSettings {
        public_key: Some(public.clone()),
        ..settings(algorithm, directory.path(), &pair.serialize_pem())
    };
    let jwt = Jwt::load(&settings).unwrap();
    let token = jwt.sign(&user()).unwrap();
    let private = settings.private_key.unwrap();
    let other = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let still_good = |what: &str| {
        let_time_pass(&jwt);
        assert_eq!(jwt.verify(&token), Ok(user()), "{what}");
        assert!(jwt.sign(&user()).is_ok(), "{what}");
    };
    std::fs::write(&private, "no key").unwrap();
    still_good("damaged");
    std::fs::remove_file(&private).unwrap();
    still_good("missing");
    std::fs::write(&private, other.serialize_pem()).unwrap();
    still_good("half of another pair");
    std::fs::write(&public, other.public_key_pem()).unwrap();
    let_time_pass(&jwt);
    assert!(jwt.verify(&token).is_err(), "the whole of another pair");
}
