//! A configuration that can be exchanged while it is in use.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A configuration that can be exchanged: certificates are renewed without a restart.
///
/// A handshake uses the configuration that is there when it begins; connections that are open go on with
/// theirs. Make the new one from a clone of the current one where you can, because sessions are resumed
/// out of its ticketer and its session storage. A clone of the holder shows the same configuration.
/// Reading takes a lock for the length of one reference count, once per handshake.
///
/// ```
/// use ringwork::tls::{Connector, Reloadable, rustls};
/// use std::sync::Arc;
///
/// let none = rustls::RootCertStore::empty();
/// let config = rustls::ClientConfig::builder().with_root_certificates(none).with_no_client_auth();
/// let config = Reloadable::new(Arc::new(config));
/// let connector = Connector::new(config.clone());
/// // Later, when there are other certificates to trust:
/// let mut renewed = rustls::ClientConfig::clone(&config.current());
/// renewed.alpn_protocols = vec![b"h2".to_vec()];
/// let before = config.replace(Arc::new(renewed));
/// assert!(before.alpn_protocols.is_empty());
/// # let _ = connector;
/// ```
pub struct Reloadable<C> {
    current: Arc<RwLock<Arc<C>>>,
}

impl<C> Reloadable<C> {
    /// Holds this configuration for now.
    pub fn new(config: Arc<C>) -> Self {
        Self { current: Arc::new(RwLock::new(config)) }
    }

    /// The configuration that a handshake would use now.
    pub fn current(&self) -> Arc<C> {
        // A configuration is exchanged whole, so a poisoned lock holds one of the two.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Handshakes that begin from now on use this one; gives back the one before.
    pub fn replace(&self, config: Arc<C>) -> Arc<C> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, config)
    }
}

impl<C> Clone for Reloadable<C> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<C> From<Arc<C>> for Reloadable<C> {
    fn from(config: Arc<C>) -> Self {
        Self::new(config)
    }
}

impl<C> fmt::Debug for Reloadable<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Configurations hold keys.
        f.debug_struct("Reloadable").finish_non_exhaustive()
    }
}
