//! Answers topic by topic.

use crate::Error;

/// What became of each topic that was asked about, in the order of asking.
#[derive(Clone, Debug)]
#[must_use = "a request that succeeds may have failed for some of its topics; `all` says so"]
pub struct TopicResults<T>(Vec<(String, Result<T, Error>)>);

impl<T> TopicResults<T> {
    pub(crate) fn new(results: Vec<(String, Result<T, Error>)>) -> Self {
        Self(results)
    }

    /// All of them, or the first error.
    pub fn all(self) -> Result<Vec<T>, Error> {
        self.0.into_iter().map(|(_, result)| result).collect()
    }

    /// What became of one topic; `None` if it was not asked about.
    pub fn of(&self, topic: &str) -> Option<&Result<T, Error>> {
        self.0.iter().find(|(name, _)| name == topic).map(|(_, result)| result)
    }

    /// Each topic's name and result.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Result<T, Error>)> {
        self.0.iter().map(|(name, result)| (name.as_str(), result))
    }
}

impl<T> IntoIterator for TopicResults<T> {
    type Item = (String, Result<T, Error>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
