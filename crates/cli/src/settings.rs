//! A client's settings, gathered from options and a properties file, each with where it was said.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla::{BuildError, Client};

use crate::properties_file::{self, Malformed};

/// Settings by Kafka's names. What is set later replaces what was set before.
#[derive(Debug, Default)]
pub(crate) struct Settings(BTreeMap<String, Setting>);

#[derive(Debug)]
struct Setting {
    value: String,
    origin: Origin,
}

/// Where a setting comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// An option of the command line.
    Option(&'static str),
    /// A properties file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(option) => formatter.write_str(option),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// Why settings are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no properties file", path.display())]
    Malformed { path: PathBuf, source: Malformed },
    #[error("{origin}")]
    Refused { origin: Origin, source: BuildError },
}

impl Settings {
    pub(crate) fn set(&mut self, name: &str, value: impl ToString, option: &'static str) {
        let setting = Setting { value: value.to_string(), origin: Origin::Option(option) };
        self.0.insert(name.to_owned(), setting);
    }

    /// Sets what stands in a properties file.
    pub(crate) fn load(&mut self, path: &Path) -> Result<(), Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let file = std::fs::read(path).map_err(unreadable)?;
        let properties = properties_file::parse(&file);
        let properties = properties.map_err(|source| Error::Malformed { path: path.to_owned(), source })?;
        for (name, value) in properties {
            self.0.insert(name, Setting { value, origin: Origin::File(path.to_owned()) });
        }
        Ok(())
    }

    /// Takes a setting out that is not the client's.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).map(|setting| setting.value)
    }

    /// A client that has them, for itself and for its producers and consumers.
    pub(crate) fn client(self) -> Result<Client, Error> {
        let mut builder = Client::builder().allow_auto_create_topics(true);
        for (name, Setting { value, origin }) in self.0 {
            // As Java's do, white space around a value is not part of it.
            builder = builder.property(&name, value.trim()).map_err(|source| Error::Refused { origin, source })?;
        }
        builder.build().map_err(|source| Error::Refused { origin: Origin::Option("--bootstrap-server"), source })
    }
}
