//! What the command line says.

use std::sync::Arc;

use ottla::consumer::assignor::{self, Assignor};

use crate::Failure;

pub(crate) const USAGE: &str =
    "usage: quickstart [--bootstrap HOST:PORT[,HOST:PORT..]] [--assignor NAME] [--records N] [--keep]

  --bootstrap  run on this Kafka cluster instead of an embedded one; no broker is stopped there
  --assignor   range, roundrobin, sticky or cooperative-sticky (the default)
  --records    how many page views to write (1000000)
  --keep       leave the topic there at the end";

pub(crate) struct Arguments {
    pub(crate) bootstrap: Option<String>,
    pub(crate) assignor: Arc<dyn Assignor>,
    pub(crate) records: u64,
    pub(crate) keep: bool,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let assignor = |name: &str| assignor::built_in(name).ok_or_else(|| format!("there is no assignor {name:?}"));
        let mut parsed =
            Self { bootstrap: None, assignor: assignor("cooperative-sticky")?, records: 1_000_000, keep: false };
        let mut arguments = arguments;
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"));
            match option.as_str() {
                "--bootstrap" => parsed.bootstrap = Some(value()?),
                "--assignor" => parsed.assignor = assignor(&value()?)?,
                "--records" => {
                    let text = value()?;
                    let records = text.parse().ok().filter(|records| *records > 0);
                    parsed.records = records.ok_or_else(|| format!("--records {text} is no number above 0"))?;
                }
                "--keep" => parsed.keep = true,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(parsed)
    }
}
