//! [`AuthState`]: the one place that everybody asks. Holds the snapshot in force and replaces it as a whole.
//!
//! Readers never wait. Writers (the auth service, the file watcher) take turns and may block on the file, so they
//! belong on a blocking thread.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, watch};
use volttron_utils::home::Home;

use super::audit::AuditLog;
use super::backoff::Backoff;
use super::file::{AuthFile, List, ParseError};
use super::pending::{Pending, Request};
use super::protected::Protected;
use super::store::{AuthStore, ChangeError, StoreError};
use super::table::{AuthTable, Presented, Verdict};

/// Connections accepted in setup mode whose entries wait to be written. Beyond it new ones are refused for the moment.
const MAX_ACCEPTED: usize = 256;

/// Refused identities that are logged before the rules change; later ones are only counted.
const MAX_REPORTED: usize = 256;

/// The platform options that concern authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent switches of the command line")]
pub struct AuthOptions {
    /// `allow-auth`: off means no keys, no auth file, every caller authorised.
    pub enabled: bool,
    /// `setup-mode`: unknown keys are let in and get an entry.
    pub setup_mode: bool,
    /// `bind-identity-to-key`.
    pub bind_identity_to_key: bool,
    /// `open-methods`.
    pub open_methods: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { enabled: true, setup_mode: false, bind_identity_to_key: true, open_methods: false }
    }
}

/// Everything in force at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The document.
    pub file: AuthFile,
    /// The document compiled.
    pub table: AuthTable,
    /// The protected topics.
    pub protected: Protected,
    /// Grows with every replacement.
    pub generation: u64,
}

/// What a look at a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The file says what is in force.
    Unchanged,
    /// The file said something else, which is in force now.
    Changed,
    /// The file is missing, or as empty as one that is being written. What was in force stays so.
    Incomplete,
}

/// Counters of the door.
#[derive(Debug, Default)]
pub struct AuthMeter {
    /// Connections let in.
    pub allowed: AtomicU64,
    /// Connections refused because no entry matches.
    pub unknown: AtomicU64,
    /// Connections refused by a deny entry.
    pub denied: AtomicU64,
    /// Identities refused to connections that were let in.
    pub identities_refused: AtomicU64,
    /// Publishes refused on protected topics.
    pub publishes_denied: AtomicU64,
    /// Connections let in by setup mode.
    pub setup_accepted: AtomicU64,
}

/// Shared handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct AuthState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AuthOptions,
    store: AuthStore,
    protected_path: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    /// The texts that the snapshot was made of. Held locked while a file is read or written and its outcome put in
    /// force, so that an older text can never replace a newer one.
    texts: Mutex<Texts>,
    door: Mutex<Door>,
    changes: watch::Sender<u64>,
    accepted: mpsc::Sender<Request>,
    accepted_rx: Mutex<Option<mpsc::Receiver<Request>>>,
    meter: AuthMeter,
    audit: AuditLog,
}

#[derive(Debug, Default)]
struct Texts {
    auth: Option<String>,
    protected: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) pending: Pending,
    pub(super) backoff: Backoff,
    /// Refused identities that were logged, each with its key. The router asks again for every message of a refused
    /// connection, and a log that grows with them would be a weapon.
    reported: HashSet<(String, String)>,
}

impl Door {
    /// Whether this refusal is worth a line in the log: once under the same rules, and not for ever more of them.
    pub(super) fn reports(&mut self, identity: &str, key: &str) -> bool {
        self.reported.len() < MAX_REPORTED && self.reported.insert((identity.to_owned(), key.to_owned()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything behind these locks is whole at every step, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuthState {
    /// Reads both files of `home`. Missing files are empty ones; unreadable ones are errors, because a platform that
    /// starts without its rules would be open or useless.
    pub fn open(home: &Home, options: AuthOptions) -> Result<Self, StoreError> {
        if !options.enabled {
            return Ok(Self::empty(home, options));
        }
        let path = home.audit_log();
        let audit =
            AuditLog::open(&path).map_err(|source| StoreError::Io { action: "write", path, source })?;
        Self::open_with(AuthStore::new(home.auth_file()), home, options, audit)
    }

    /// As [`Self::open`], with the file where `store` has it and the protected topics beside it.
    pub(crate) fn open_with(
        store: AuthStore,
        home: &Home,
        options: AuthOptions,
        audit: AuditLog,
    ) -> Result<Self, StoreError> {
        let this = Self::with_audit(store, home, options, audit);
        if options.setup_mode {
            tracing::warn!(
                "SETUP MODE: every key that connects is accepted and gets an auth entry. Restart without --setup-mode as soon as set-up is done."
            );
        }
        let loaded = this.0.store.read_patiently()?;
        let protected_text = this.read_protected()?;
        let protected = this.parse_protected(protected_text.as_deref().unwrap_or_default())?;
        if let Some(loaded) = loaded {
            lock(&this.0.texts).auth = Some(loaded.text);
            for warning in &loaded.parsed.warnings {
                tracing::warn!("{}: {warning}", this.0.store.path().display());
            }
            this.install(Some(loaded.parsed.file), Some(protected));
        } else {
            this.install(None, Some(protected));
        }
        lock(&this.0.texts).protected = protected_text;
        Ok(this)
    }

    /// A state without entries that looks at no file until it is told to.
    pub fn empty(home: &Home, options: AuthOptions) -> Self {
        Self::with_audit(AuthStore::new(home.auth_file()), home, options, AuditLog::none())
    }

    fn with_audit(store: AuthStore, home: &Home, options: AuthOptions, audit: AuditLog) -> Self {
        let (accepted, accepted_rx) = mpsc::channel(MAX_ACCEPTED);
        Self(Arc::new(Inner {
            options,
            store,
            protected_path: home.protected_topics(),
            snapshot: ArcSwap::default(),
            texts: Mutex::default(),
            door: Mutex::default(),
            changes: watch::Sender::new(0),
            accepted,
            accepted_rx: Mutex::new(Some(accepted_rx)),
            meter: AuthMeter::default(),
            audit,
        }))
    }

    /// The options the platform was started with.
    pub fn options(&self) -> AuthOptions {
        self.0.options
    }

    /// The snapshot in force. Hold it shortly; it does not change under its holder.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.0.snapshot.load()
    }

    /// Grows whenever a decision may have changed.
    pub fn generation(&self) -> u64 {
        self.snapshot().generation
    }

    /// Tells each new generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The file behind the entries.
    pub fn store(&self) -> &AuthStore {
        &self.0.store
    }

    /// Counters.
    pub fn meter(&self) -> &AuthMeter {
        &self.0.meter
    }

    pub(super) fn door(&self) -> MutexGuard<'_, Door> {
        lock(&self.0.door)
    }

    /// Runs `read` on the list of pending requests.
    pub fn with_pending<T>(&self, read: impl FnOnce(&mut Pending) -> T) -> T {
        read(&mut self.door().pending)
    }

    /// The requests that setup mode accepted, for the task that writes their entries. Given once.
    pub fn take_accepted(&self) -> Option<mpsc::Receiver<Request>> {
        lock(&self.0.accepted_rx).take()
    }

    /// Hands an accepted request to that task; false when it is too far behind.
    pub(super) fn accept(&self, request: Request) -> bool {
        self.0.accepted.try_send(request).is_ok()
    }

    /// What was granted and refused goes here.
    pub fn audit(&self) -> &AuditLog {
        &self.0.audit
    }

    /// Changes the auth file on behalf of the platform itself; see [`AuthState::change_by`].
    pub fn change<T, E: std::error::Error + 'static>(
        &self,
        change: impl FnOnce(&mut AuthFile) -> Result<T, E>,
    ) -> Result<T, ChangeError<E>> {
        self.change_by("the platform", change)
    }

    /// Changes the auth file on behalf of `by` and puts the outcome in force. Blocks on the file.
    pub fn change_by<T, E: std::error::Error + 'static>(
        &self,
        by: &str,
        change: impl FnOnce(&mut AuthFile) -> Result<T, E>,
    ) -> Result<T, ChangeError<E>> {
        let mut texts = lock(&self.0.texts);
        // A file that somebody deleted is written again from what is in force, not from nothing.
        let absent = self.snapshot().file.clone();
        let changed = self.0.store.change(absent, change)?;
        if let Some(backup) = &changed.backup {
            tracing::info!(
                "{} was upgraded to version 1.4, the old text is {}",
                self.0.store.path().display(),
                backup.display()
            );
        }
        if texts.auth.as_ref() != Some(&changed.text) {
            for warning in &changed.warnings {
                tracing::warn!("{}: {warning}", self.0.store.path().display());
            }
            texts.auth = Some(changed.text);
            self.0.audit.changed(by, &self.snapshot().file, &changed.file);
            self.install(Some(changed.file), None);
        }
        Ok(changed.value)
    }

    /// Looks at the auth file. A file that cannot be read, is missing or looks half-written leaves everything as it
    /// was; `last_try` makes a document without entries count as meant. Blocks on the file.
    pub fn reload_auth(&self, last_try: bool) -> Result<Reloaded, StoreError> {
        let mut texts = lock(&self.0.texts);
        let Some(loaded) = self.0.store.read()? else { return Ok(Reloaded::Incomplete) };
        if texts.auth.as_ref() == Some(&loaded.text) {
            return Ok(Reloaded::Unchanged);
        }
        let file = loaded.parsed.file;
        let had_entries = self.snapshot().file.entries(List::Allow).next().is_some();
        let lost_all = had_entries && file.entries(List::Allow).next().is_none();
        if loaded.text.trim().is_empty() || (lost_all && !last_try) {
            return Ok(Reloaded::Incomplete);
        }
        for warning in &loaded.parsed.warnings {
            tracing::warn!("{}: {warning}", self.0.store.path().display());
        }
        texts.auth = Some(loaded.text);
        self.0.audit.changed("an edit of auth.json", &self.snapshot().file, &file);
        self.install(Some(file), None);
        Ok(Reloaded::Changed)
    }

    /// Looks at the protected topics. A missing or empty file protects nothing, once it stayed so until `last_try`.
    pub fn reload_protected(&self, last_try: bool) -> Result<Reloaded, StoreError> {
        let mut texts = lock(&self.0.texts);
        let text = self.read_protected()?;
        let blank = |text: &Option<String>| text.as_ref().is_none_or(|t| t.trim().is_empty());
        if text == texts.protected || (blank(&text) && blank(&texts.protected)) {
            return Ok(Reloaded::Unchanged);
        }
        if blank(&text) && !last_try {
            return Ok(Reloaded::Incomplete);
        }
        let protected = self.parse_protected(text.as_deref().unwrap_or_default())?;
        let facts = serde_json::json!({"text": text});
        self.0.audit.grant("protected topics set", "an edit of protected_topics.json", facts);
        texts.protected = text;
        self.install(None, Some(protected));
        Ok(Reloaded::Changed)
    }

    fn read_protected(&self) -> Result<Option<String>, StoreError> {
        let path = &self.0.protected_path;
        let read = self.0.store.read_beside(path);
        read.map_err(|source| StoreError::Io { action: "read", path: path.clone(), source })
    }

    fn parse_protected(&self, text: &str) -> Result<Protected, StoreError> {
        Protected::parse(text)
            .map_err(|source: ParseError| StoreError::Parse { path: self.0.protected_path.clone(), source })
    }

    /// Puts a new snapshot in force; what is not given stays.
    fn install(&self, file: Option<AuthFile>, protected: Option<Protected>) {
        let old = self.0.snapshot.load_full();
        let generation = old.generation + 1;
        let file = file.unwrap_or_else(|| old.file.clone());
        let table = AuthTable::new(&file);
        for warning in table.warnings() {
            tracing::warn!("{}: {warning}", self.0.store.path().display());
        }
        let protected = protected.unwrap_or_else(|| old.protected.clone());
        self.0.snapshot.store(Arc::new(Snapshot { file, table, protected, generation }));
        self.tidy_door();
        self.0.changes.send_replace(generation);
    }

    /// Decided requests are no longer pending, and nobody waits for what was refused by older rules.
    fn tidy_door(&self) {
        let snapshot = self.snapshot();
        let mut door = self.door();
        door.pending.retain(|r| {
            let presented = Presented {
                domain: &r.domain,
                address: &r.address,
                mechanism: r.mechanism,
                credentials: &r.credentials,
            };
            snapshot.table.authenticate(presented) == Verdict::Unknown
        });
        door.pending.keep_denied(|user_id| snapshot.file.entries(List::Deny).any(|e| e.user_id == user_id));
        door.backoff = Backoff::default();
        door.reported.clear();
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
