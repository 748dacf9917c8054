//! Certificates from files, read again when a file changes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::options::TlsPaths;

/// What changes when a file is replaced, written or given another mode or owner, by the rule of services/chassis/key_files.py.
type Stamps = Vec<Option<(SystemTime, u64, u32, u32, u64)>>;

/// Gives each connection the newest certificates that could be read.
pub struct Certificates {
    paths: TlsPaths,
    stamps: Stamps,
    acceptor: TlsAcceptor,
}

impl Certificates {
    /// Read the files; an error says which of them cannot be used.
    pub fn open(paths: TlsPaths) -> Result<Self, String> {
        let stamps = look(&paths);
        let acceptor = read(&paths)?;
        Ok(Self { paths, stamps, acceptor })
    }

    /// Return what a handshake is to use; a file that cannot be used leaves what was before.
    pub fn newest(&mut self) -> TlsAcceptor {
        let stamps = look(&self.paths);
        if stamps != self.stamps {
            if let Ok(acceptor) = read(&self.paths) {
                self.acceptor = acceptor;
                self.stamps = stamps;
            }
        }
        self.acceptor.clone()
    }
}

fn look(paths: &TlsPaths) -> Stamps {
    let all = [Some(&paths.certificate_chain), Some(&paths.private_key), paths.client_authorities.as_ref()];
    let stamp = |path: &std::path::PathBuf| {
        let found = path.metadata()?;
        Ok::<_, std::io::Error>((found.modified()?, found.ino(), found.mode(), found.uid(), found.len()))
    };
    all.into_iter().flatten().map(|path| stamp(path).ok()).collect()
}

fn read(paths: &TlsPaths) -> Result<TlsAcceptor, String> {
    let chain = certificates(&paths.certificate_chain)?;
    check_key(&paths.private_key)?;
    let key = PrivateKeyDer::from_pem_file(&paths.private_key).map_err(|error| unusable(&paths.private_key, error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match &paths.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| unusable(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&paths.private_key, error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}

/// Refuse a key that others may read, by the rule of services/chassis/key_files.py: 0600, or 0640 where it is root's.
fn check_key(path: &Path) -> Result<(), String> {
    let found = path.metadata().map_err(|error| unusable(path, error))?;
    let (mode, allowed) = (found.mode() & 0o777, if found.uid() == 0 { 0o740 } else { 0o700 });
    if mode & !allowed == 0 {
        return Ok(());
    }
    Err(unusable(path, format!("others may read this private key (mode {mode:04o}): chmod 600 {}", path.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| unusable(path, error))?;
    if found.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(found)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}
