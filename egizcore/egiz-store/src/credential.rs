//! Credentials at rest. Two schemes, told apart by their prefix:
//!
//! - `sha256$<salt>$<digest>` for secrets that this program generated: 32 random bytes, shown once. Nobody guesses
//!   2^256 values, so a slow hash would protect nothing and only make a reconnect storm expensive.
//! - `$argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>` (the PHC string format) for passwords that people choose, which can
//!   be guessed: 19 MiB, 2 passes, 1 lane, the minimum of the OWASP password storage cheat sheet.
//!
//! Which scheme a check costs depends only on the *presented* text — generated secrets have a shape that chosen
//! passwords may not have — so neither the time nor the memory of a refusal tells whether a name exists.
//!
//! Source: RFC 9106 (Argon2), PHC string format.

mod verifier;

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(crate) use verifier::Verifier;
pub use verifier::VerifierLimits;

use crate::store::RandomSource;

/// Fewest characters of a chosen password.
const MIN_PASSWORD_CHARS: usize = 12;
/// Most bytes of a chosen password: a bound on hashing work, far above any real one.
const MAX_PASSWORD_BYTES: usize = 512;
const SECRET_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What an imported hash may ask for at most; more would let a document exhaust the memory at sign-in.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 4;

/// A credential cannot be used or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A chosen password is too short.
    #[error("password must have at least {MIN_PASSWORD_CHARS} characters")]
    TooShort,
    /// A chosen password is too long.
    #[error("password must have at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// A chosen password looks like a generated secret.
    #[error("password must not have the form of a generated secret (43 characters of base64url)")]
    LooksGenerated,
    /// A stored or imported hash is not one of the known forms, or asks for too much work.
    #[error("credential hash is not of a known form within the allowed cost")]
    UnknownHash,
    /// More password checks are waiting than allowed; the caller should answer "try again later".
    #[error("too many password checks are waiting")]
    Busy,
    /// The hashing task could not run.
    #[error("password hashing failed")]
    Hashing,
}

/// A secret in clear. Hidden in `Debug`; shown once to whoever asked for it and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Generates a secret of 32 random bytes, 43 characters of base64url.
    pub(crate) fn generate(random: &RandomSource) -> Secret {
        let mut bytes = [0_u8; SECRET_BYTES];
        random(&mut bytes);
        Secret(Base64UrlUnpadded::encode_string(&bytes))
    }

    pub(crate) fn from_text(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Gives the text, to hand over to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A credential as stored: one-way, self-describing.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialHash(String);

impl fmt::Debug for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialHash(hidden)")
    }
}

impl CredentialHash {
    /// Reads a stored or imported hash.
    ///
    /// # Errors
    /// [`CredentialError::UnknownHash`] when it is of no known form or asks for more than 64 MiB, 10 passes or
    /// 4 lanes.
    pub fn parse(text: &str) -> Result<CredentialHash, CredentialError> {
        Form::parse(text).ok_or(CredentialError::UnknownHash)?;
        Ok(CredentialHash(text.to_owned()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Hashes a generated secret.
    pub(crate) fn of_secret(secret: &Secret, random: &RandomSource) -> CredentialHash {
        let salt = new_salt(random);
        let digest = salted_digest(&salt, secret.expose());
        CredentialHash(format!(
            "sha256${}${}",
            Base64UrlUnpadded::encode_string(&salt),
            Base64UrlUnpadded::encode_string(&digest)
        ))
    }
}

/// Checks the rules for a chosen password.
pub(crate) fn check_password(password: &str) -> Result<(), CredentialError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(CredentialError::TooLong);
    }
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(CredentialError::TooShort);
    }
    if is_generated_form(password) {
        return Err(CredentialError::LooksGenerated);
    }
    Ok(())
}

/// Tells whether the text has the shape of [`Secret::generate`].
fn is_generated_form(text: &str) -> bool {
    let mut bytes = [0_u8; SECRET_BYTES];
    matches!(Base64UrlUnpadded::decode(text, &mut bytes), Ok(decoded) if decoded.len() == SECRET_BYTES)
}

/// Compares a presented secret of generated form with a stored hash; a missing one or one of the other scheme costs
/// the same and never matches. Microseconds of work.
pub(crate) fn verify_secret(presented: &str, stored: Option<&str>) -> bool {
    let (salt, digest, real) = match stored.and_then(Form::parse) {
        Some(Form::Sha256 { salt, digest }) => (salt, digest, true),
        _ => ([0; SALT_BYTES], [0; 32], false),
    };
    let equal: bool = salted_digest(&salt, presented).ct_eq(&digest).into();
    equal && real
}

/// Hashes a chosen password: about 20 ms of work and 19 MiB, so never on an async thread.
fn hash_password(password: &str, salt: [u8; SALT_BYTES]) -> Result<CredentialHash, CredentialError> {
    let hash = argon2id(password, &salt, MEMORY_KIB, PASSES, LANES)?;
    Ok(CredentialHash(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}",
        Base64Unpadded::encode_string(&salt),
        Base64Unpadded::encode_string(&hash)
    )))
}

/// Compares a presented password with a stored hash, at the price of one Argon2id run whatever is stored.
fn verify_password(password: &str, stored: Option<&str>) -> Result<bool, CredentialError> {
    match stored.and_then(Form::parse) {
        Some(Form::Argon2id { memory_kib, passes, lanes, salt, hash }) => {
            let computed = argon2id(password, &salt, memory_kib, passes, lanes)?;
            Ok(computed.ct_eq(&hash).into())
        }
        _ => {
            argon2id(password, &[0; SALT_BYTES], MEMORY_KIB, PASSES, LANES)?;
            Ok(false)
        }
    }
}

fn argon2id(
    password: &str,
    salt: &[u8],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Result<[u8; 32], CredentialError> {
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|_| CredentialError::UnknownHash)?;
    let mut hash = [0_u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .map_err(|_| CredentialError::Hashing)?;
    Ok(hash)
}

fn salted_digest(salt: &[u8], text: &str) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(text.as_bytes()).finalize().into()
}

fn new_salt(random: &RandomSource) -> [u8; SALT_BYTES] {
    let mut salt = [0_u8; SALT_BYTES];
    random(&mut salt);
    salt
}

/// A parsed hash.
enum Form {
    Sha256 { salt: [u8; SALT_BYTES], digest: [u8; 32] },
    Argon2id { memory_kib: u32, passes: u32, lanes: u32, salt: Vec<u8>, hash: [u8; 32] },
}

impl Form {
    fn parse(text: &str) -> Option<Form> {
        if let Some(rest) = text.strip_prefix("sha256$") {
            let (salt, digest) = rest.split_once('$')?;
            return Some(Form::Sha256 {
                salt: Base64UrlUnpadded::decode_vec(salt).ok()?.try_into().ok()?,
                digest: Base64UrlUnpadded::decode_vec(digest).ok()?.try_into().ok()?,
            });
        }
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut numbers = cost.split(',');
        let memory_kib: u32 = numbers.next()?.strip_prefix("m=")?.parse().ok()?;
        let passes: u32 = numbers.next()?.strip_prefix("t=")?.parse().ok()?;
        let lanes: u32 = numbers.next()?.strip_prefix("p=")?.parse().ok()?;
        let salt = Base64Unpadded::decode_vec(salt).ok()?;
        let hash = Base64Unpadded::decode_vec(hash).ok()?.try_into().ok()?;
        let affordable = (8 * lanes.max(1)..=MAX_MEMORY_KIB).contains(&memory_kib)
            && (1..=MAX_PASSES).contains(&passes)
            && (1..=MAX_LANES).contains(&lanes)
            && (8..=64).contains(&salt.len());
        let complete = parts.next().is_none() && numbers.next().is_none();
        (affordable && complete).then_some(Form::Argon2id { memory_kib, passes, lanes, salt, hash })
    }
}

#[cfg(test)]
mod tests;
