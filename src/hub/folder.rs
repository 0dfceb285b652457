//! Local folders that the operator allows.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::HubError;

/// The folder's real path (symbolic links followed) where it lies in or below one of `roots`.
///
/// # Errors
/// [`HubError::NotFound`] where there is no such folder, [`HubError::Forbidden`] where it lies elsewhere.
pub fn check_allowed(path: &Path, roots: &[PathBuf]) -> Result<PathBuf, HubError> {
    let forbidden = || {
        let hint = if roots.is_empty() {
            "none is allowed; start the server with --model-root DIR to allow those below DIR".to_owned()
        } else {
            let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
            format!("those in or below {} are", roots.join(" or "))
        };
        HubError::Forbidden(format!("{} is not an allowed folder; {hint}", path.display()))
    };
    if !path.is_absolute() {
        return Err(HubError::Invalid(format!("{}: an absolute path is expected", path.display())));
    }
    let real = match path.canonicalize() {
        Ok(real) => real,
        // Whether a path exists outside the roots is nobody's business, so only one that would lie inside is told apart.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let inside = roots.iter().any(|root| path.starts_with(root)) && !climbs(path);
            let message = format!("there is no folder {}", path.display());
            return Err(if inside { HubError::NotFound(message) } else { forbidden() });
        }
        Err(_) => return Err(forbidden()),
    };
    if !roots.iter().filter_map(|root| root.canonicalize().ok()).any(|root| real.starts_with(root)) {
        return Err(forbidden());
    }
    if real.is_dir() { Ok(real) } else { Err(HubError::NotFound(format!("{} is not a folder", path.display()))) }
}

fn climbs(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_below_a_root_are_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let root = base.join("allowed");
        std::fs::create_dir_all(root.join("model")).unwrap();
        std::fs::create_dir_all(base.join("allowed-not/model")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let roots = [root.clone()];

        assert_eq!(check_allowed(&root.join("model"), &roots).unwrap(), root.join("model"));
        assert_eq!(check_allowed(&root.join("model/../model"), &roots).unwrap(), root.join("model"));
        assert_eq!(check_allowed(&root, &roots).unwrap(), root);
        let refused = |path: PathBuf| check_allowed(&path, &roots).unwrap_err();
        assert!(matches!(refused(root.join("nothing")), HubError::NotFound(_)));
        assert!(matches!(refused(root.join("file")), HubError::NotFound(_)));
        assert!(matches!(refused("model".into()), HubError::Invalid(_)));
        for path in [base.join("allowed-not/model"), root.join("../allowed-not/model"), base.clone(), "/".into()] {
            assert!(matches!(refused(path.clone()), HubError::Forbidden(_)), "{}", path.display());
        }
        // The same answer for what exists outside and what does not.
        for path in [base.join("nothing"), root.join("../nothing"), root.join("../allowed-not")] {
            assert!(matches!(refused(path.clone()), HubError::Forbidden(_)), "{}", path.display());
        }
        assert!(matches!(check_allowed(&root, &[]).unwrap_err(), HubError::Forbidden(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere_new() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (root, secret) = (base.join("allowed"), base.join("secret"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&secret).unwrap();
        std::os::unix::fs::symlink(&secret, root.join("link")).unwrap();
        let error = check_allowed(&root.join("link"), std::slice::from_ref(&root)).unwrap_err();
        assert!(matches!(error, HubError::Forbidden(_)), "{error}");
        std::os::unix::fs::symlink(&root, base.join("root-link")).unwrap();
        std::fs::create_dir(root.join("model")).unwrap();
        let real = check_allowed(&base.join("root-link/model"), &[base.join("root-link")]).unwrap();
        assert_eq!(real, root.join("model"));
    }
}
