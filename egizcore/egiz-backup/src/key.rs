//! Keys of an encrypted repository: from a passphrase to the names and the bytes of blobs and manifests.
//!
//! ```text
//!  passphrase ──Argon2id, salt of the repository──► master key
//!  master key ──HMAC-SHA-256 "check"───► kept in repository.json: tells a wrong passphrase
//!             ──"names"────► name of a blob   = HMAC(SHA-256 of the content): says nothing of the content
//!             ──"contents"─► key of a blob    = HMAC(name), one for each content
//!             ──"manifests"► key of a manifest = HMAC(id)
//!  blob     = pieces of 1 MiB, each with ChaCha20-Poly1305; nonce = number of the piece and whether it is the last
//!  manifest = the same, in one piece
//! ```
//!
//! Each key seals one content only, so nonces may be counted, the same content always gives the same bytes (sending it twice is
//! harmless), and a piece that is missing, moved, added or of another blob does not open. The construction over pieces is
//! STREAM's (Hoang, Reyhanitabar, Rogaway, Vizár 2015). What an onlooker learns is how many blobs there are and how long they
//! are.
//!
//! It refuses a passphrase from anywhere but its caller, and to show one.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::error::OpenError;
use crate::format::{from_hex, to_hex};

/// Bytes of a content that are sealed at once.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// What sealing adds to each piece.
pub(crate) const TAG_BYTES: usize = 16;
const CIPHER: &str = "ChaCha20-Poly1305";
const DERIVATION: &str = "Argon2id";
/// The most that a repository may ask for before it is believed: memory, and passes over it.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;

/// What the keys are made from. Hidden in `Debug`.
#[derive(Clone)]
pub struct Passphrase(Vec<u8>);

impl Passphrase {
    /// Takes the text of a key file or of a variable; white space around it is ignored.
    ///
    /// # Errors
    /// Where it is too short or too long.
    pub fn new(text: &[u8]) -> Result<Self, OpenError> {
        let text = text.trim_ascii();
        match text.len() {
            16..=1024 => Ok(Self(text.to_vec())),
            length => Err(OpenError::Passphrase(format!("has {length} bytes"))),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrase(hidden)")
    }
}

/// How keys are made, as `repository.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    cipher: String,
    derivation: String,
    memory_kib: u32,
    passes: u32,
    salt: String,
    check: String,
}

/// The keys. Without them, names are checksums and bytes are what they are.
#[derive(Clone)]
pub(crate) struct Keys {
    names: hmac::Key,
    contents: hmac::Key,
    manifests: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys(hidden)")
    }
}

impl Encryption {
    /// A new way of making keys, with 64 MiB and three passes (RFC 9106 §4, second recommended option).
    pub(crate) fn new(passphrase: &Passphrase, salt: [u8; 16]) -> (Self, Keys) {
        let mut encryption = Self {
            cipher: CIPHER.to_owned(),
            derivation: DERIVATION.to_owned(),
            memory_kib: 64 << 10,
            passes: 3,
            salt: to_hex(&salt),
            check: String::new(),
        };
        let (keys, check) = encryption.derive(passphrase).expect("these parameters are in range");
        encryption.check = check;
        (encryption, keys)
    }

    /// The keys of a passphrase; nothing where it is the wrong one.
    ///
    /// # Errors
    /// Where what was read cannot be meant.
    pub(crate) fn open(&self, passphrase: &Passphrase) -> Result<Option<Keys>, String> {
        if self.cipher != CIPHER || self.derivation != DERIVATION {
            return Err(format!(
                "it is encrypted with {} and {}, this program knows {CIPHER} and {DERIVATION}",
                self.cipher, self.derivation
            ));
        }
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return Err("its keys would take more memory or time than is allowed".to_owned());
        }
        let (keys, check) = self.derive(passphrase)?;
        Ok((check == self.check).then_some(keys))
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<(Keys, String), String> {
        let salt: [u8; 16] = from_hex(&self.salt).ok_or("its salt is not 32 hexadecimal digits")?;
        let params =
            Params::new(self.memory_kib, self.passes, 1, Some(32)).map_err(|error| error.to_string())?;
        let mut master = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&passphrase.0, &salt, &mut master)
            .map_err(|error| error.to_string())?;
        let master = hmac::Key::new(hmac::HMAC_SHA256, &master);
        let key =
            |label: &str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, label.as_bytes()).as_ref());
        let keys = Keys { names: key("names"), contents: key("contents"), manifests: key("manifests") };
        Ok((keys, to_hex(hmac::sign(&master, b"check").as_ref())))
    }
}

impl Keys {
    /// The name of the blob with this content.
    pub(crate) fn blob_name(&self, sha256: &[u8; 32]) -> String {
        to_hex(hmac::sign(&self.names, sha256).as_ref())
    }

    /// What seals and opens the blob of this name.
    pub(crate) fn blob(&self, name: &str) -> Cipher {
        Cipher::new(&self.contents, name)
    }

    /// What seals and opens the manifest of this backup.
    pub(crate) fn manifest(&self, id: &str) -> Cipher {
        Cipher::new(&self.manifests, id)
    }
}

/// Seals and opens one content, piece by piece.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    fn new(key: &hmac::Key, label: &str) -> Self {
        let key = hmac::sign(key, label.as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).expect("both have 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals a piece in place.
    pub(crate) fn seal(&self, number: u64, is_last: bool, piece: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(nonce(number, is_last), Aad::empty(), piece)
            .expect("a piece is far shorter than the cipher's limit");
    }

    /// Opens a piece in place; false where it is not what was sealed.
    pub(crate) fn open(&self, number: u64, is_last: bool, piece: &mut Vec<u8>) -> bool {
        let opened =
            self.0.open_in_place(nonce(number, is_last), Aad::empty(), piece).map(|plain| plain.len());
        match opened {
            Ok(length) => {
                piece.truncate(length);
                true
            }
            Err(_) => false,
        }
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> (Encryption, Keys) {
        Encryption::new(&Passphrase::new(text.as_bytes()).expect("long enough"), [7; 16])
    }

    #[test]
    fn the_same_passphrase_gives_the_same_keys_and_another_none() {
        let (encryption, keys) = keys("correct horse battery");
        let same = Passphrase::new(b" correct horse battery\n").expect("long enough");
        let again = encryption.open(&same).expect("readable").expect("the same passphrase");
        assert_eq!(keys.blob_name(&[1; 32]), again.blob_name(&[1; 32]));
        assert_ne!(keys.blob_name(&[1; 32]), keys.blob_name(&[2; 32]));
        let other = Passphrase::new(b"correct horse batterz").expect("long enough");
        assert!(encryption.open(&other).expect("readable").is_none());
        assert!(!format!("{other:?}{keys:?}").contains("horse"));
    }

    /// Backups made with version 1 must open for good.
    #[test]
    fn version_1_derives_what_it_did() {
        let (encryption, keys) = keys("correct horse battery");
        let expected = include_str!("../tests/golden/keys-v1");
        let got = format!("{}\n{}\n", encryption.check, keys.blob_name(&[1; 32]));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_piece_opens_only_as_what_it_was_sealed() {
        let (_, keys) = keys("correct horse battery");
        let sealed = |number, is_last| {
            let mut piece = b"reading".to_vec();
            keys.blob("a").seal(number, is_last, &mut piece);
            piece
        };
        let opens = |name: &str, number, is_last, mut piece: Vec<u8>| {
            keys.blob(name).open(number, is_last, &mut piece) && piece == b"reading"
        };
        assert!(opens("a", 3, true, sealed(3, true)));
        assert!(!opens("a", 3, false, sealed(3, true)), "the last piece is missing");
        assert!(!opens("a", 2, true, sealed(3, true)), "moved");
        assert!(!opens("b", 3, true, sealed(3, true)), "of another blob");
        assert!(!sealed(0, true).windows(4).any(|part| part == b"read"));
        for at in 0..sealed(0, true).len() {
            let mut flipped = sealed(0, true);
            flipped[at] ^= 1;
            assert!(!opens("a", 0, true, flipped), "flipped at {at}");
        }
    }

    #[test]
    fn a_short_or_endless_passphrase_is_refused() {
        for text in ["", "too short", &"x".repeat(1025)] {
            assert!(Passphrase::new(text.as_bytes()).is_err());
        }
    }
}
