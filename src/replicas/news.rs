//! News of the other replicas.

/// Most bytes of one message: topic, sender, and what it is about.
const MESSAGE: usize = 2048;

/// The subject of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewsTopic {
    /// The connection is new: messages before it may have been missed.
    Reached,
    /// The pins of an upstream, named by its place in the store.
    Pins,
    /// A login, named by its place in the store.
    Logins,
    /// A session that was ended or renewed.
    Sessions,
    /// The listing of an upstream, named by its place in the store.
    Listings,
}

impl NewsTopic {
    /// The topics of messages, with their words.
    const WORDS: [(&'static str, Self); 4] = [
        ("pins", Self::Pins),
        ("logins", Self::Logins),
        ("sessions", Self::Sessions),
        ("listings", Self::Listings),
    ];

    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, topic)| *topic == self);
        found.map_or("", |(word, _)| word)
    }
}

/// News of another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreNews {
    /// The subject.
    pub topic: NewsTopic,
    /// Which of its kind; empty for [`NewsTopic::Reached`]. Nothing in it is to be trusted: it says where
    /// to look.
    pub text: Box<str>,
}

impl StoreNews {
    pub(super) fn reached() -> Self {
        Self {
            topic: NewsTopic::Reached,
            text: "".into(),
        }
    }

    /// Writes a message.
    pub(super) fn message(topic: NewsTopic, sender: &str, text: &str) -> String {
        format!("{} {sender} {text}", topic.word())
    }

    /// Reads a message; `None` for one of `me` and for one that is not weir's.
    pub(super) fn read(message: &[u8], me: &str) -> Option<Self> {
        let message = std::str::from_utf8(message.get(..message.len().min(MESSAGE))?).ok()?;
        let mut parts = message.splitn(3, ' ');
        let (word, sender, text) = (parts.next()?, parts.next()?, parts.next()?);
        let (_, topic) = NewsTopic::WORDS.iter().find(|(known, _)| *known == word)?;
        (sender != me).then(|| Self {
            topic: *topic,
            text: text.into(),
        })
    }
}
