//! A client's settings, gathered from options and a properties file, each with where it was said.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla::{BuildError, Client, ClientBuilder, ConsumerBuilder, ProducerBuilder};

use crate::properties_file::{self, Malformed};
use crate::{complain, java_settings};

/// Settings by Kafka's names. What is set later replaces what was set before.
#[derive(Debug, Default)]
pub(crate) struct Settings(BTreeMap<String, Setting>);

/// What a setting is, and who says so.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Producer,
    Consumer,
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
    Refused { origin: Origin, source: Box<BuildError> },
}

impl Settings {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>, option: &'static str) {
        let setting = Setting { value: value.into(), origin: Origin::Option(option) };
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
    pub(crate) fn take(&mut self, name: &str) -> Option<Setting> {
        self.0.remove(name)
    }

    /// A client that has them, for itself and for its producers or consumers.
    pub(crate) fn client(self, kind: Kind) -> Result<Client, Error> {
        // Java's producers make topics, and so do its consumers unless told otherwise.
        let mut builder = Client::builder().allow_auto_create_topics(true);
        for (name, Setting { value, origin }) in self.0 {
            // As in Java, white space around a value is not part of it.
            let value = value.trim();
            if java_settings::is_without_effect(kind, &name, value) {
                continue;
            }
            if kind.is_anothers(&name) {
                complain(&format!("{origin}: {name} has no effect on a {kind}"));
                continue;
            }
            let refused = |error| Error::Refused { origin, source: Box::new(error) };
            builder = builder.property(&name, value).map_err(refused)?;
        }
        let refused = |error| Error::Refused { origin: Origin::Option("--bootstrap-server"), source: Box::new(error) };
        builder.build().map_err(refused)
    }
}

impl Kind {
    /// Whether a setting is one of another kind of client's alone. Java's clients say so and go on, because people keep
    /// one file for all.
    fn is_anothers(self, name: &str) -> bool {
        let (own, others) = match self {
            Self::Producer => (ProducerBuilder::PROPERTIES, ConsumerBuilder::PROPERTIES),
            Self::Consumer => (ConsumerBuilder::PROPERTIES, ProducerBuilder::PROPERTIES),
        };
        let is_in = |names: &[&str]| names.contains(&name);
        // A producer of Java's makes topics, whatever is set.
        let is_consumers = self == Self::Producer && name == "allow.auto.create.topics";
        is_consumers || (is_in(others) && !is_in(own) && !is_in(ClientBuilder::PROPERTIES))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}
