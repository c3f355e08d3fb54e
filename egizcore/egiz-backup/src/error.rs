//! What can go wrong with a repository. Texts name the object at fault; what the storage said is the source.

/// A repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The target's address cannot be used.
    #[error("backup target {given} {problem}; allowed: a folder, file:///folder, or s3://bucket/prefix")]
    Target {
        /// The address as it was given.
        given: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting of the storage is missing or wrong.
    #[error("backup target {given} cannot be used")]
    Settings {
        /// The address.
        given: String,
        /// What the storage's driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no repository where one is to be read.
    #[error("{target} holds no backups: there is no repository.json")]
    Missing {
        /// The address.
        target: String,
    },
    /// `repository.json` is not what was written.
    #[error("repository.json in {target} is damaged: {flaw}")]
    Damaged {
        /// The address.
        target: String,
        /// What is wrong.
        flaw: String,
    },
    /// It is encrypted, and there is no passphrase.
    #[error("the backups in {target} are encrypted, and no key was given; name its file")]
    KeyMissing {
        /// The address.
        target: String,
    },
    /// The passphrase is another one.
    #[error("the key is not the one that the backups in {target} were encrypted with")]
    KeyWrong {
        /// The address.
        target: String,
    },
    /// It is not encrypted, and a passphrase was given.
    #[error(
        "the backups in {target} are not encrypted, and a key was given: leave the key away, or begin another repository"
    )]
    NotEncrypted {
        /// The address.
        target: String,
    },
    /// The key's text is no good.
    #[error("the key {0}; allowed: 16 to 1024 bytes of text")]
    Passphrase(String),
    /// The storage does not answer or refuses.
    #[error("{target} cannot be read or written")]
    Storage {
        /// The address.
        target: String,
        /// What it said.
        #[source]
        source: object_store::Error,
    },
}

/// A backup cannot be made, listed, checked or fetched.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The storage does not answer or refuses.
    #[error("the backup storage cannot {operation} {object}")]
    Storage {
        /// What was tried.
        operation: &'static str,
        /// The object's name.
        object: String,
        /// What it said.
        #[source]
        source: object_store::Error,
    },
    /// A file of this machine cannot be read or written.
    #[error("{path} cannot be {operation}")]
    File {
        /// The file.
        path: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that never changes did, while it was read.
    #[error("{path} changed while it was read; nothing of this backup counts")]
    Changed {
        /// The file.
        path: String,
    },
    /// There is no such backup.
    #[error("there is no backup {0}")]
    NoSuchBackup(String),
    /// A manifest is not what was written.
    #[error("the manifest of backup {backup} is damaged: {flaw}")]
    ManifestDamaged {
        /// Which backup.
        backup: String,
        /// What is wrong.
        flaw: String,
    },
    /// A blob is missing or not what was written.
    #[error("the backup's {path} cannot be given back: blobs/{blob} {flaw}")]
    BlobDamaged {
        /// The file that it holds.
        path: String,
        /// The blob's name.
        blob: String,
        /// What is wrong.
        flaw: String,
    },
    /// Somebody else is at work in a way that does not go together.
    #[error("{who} is under way in this repository since {since_s} s ago; {advice}")]
    Busy {
        /// Who.
        who: String,
        /// For how long.
        since_s: i64,
        /// What can be done.
        advice: &'static str,
    },
}

impl RepositoryError {
    pub(crate) fn storage(
        operation: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let object = object.into();
        move |source| Self::Storage { operation, object, source }
    }

    pub(crate) fn file(
        operation: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path, operation, source }
    }
}
