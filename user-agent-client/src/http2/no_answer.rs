//! Why a request has no answer.

/// No answer.
#[derive(Debug)]
pub(super) struct NoAnswer(Option<h2::Error>);

impl NoAnswer {
    /// The request could not be sent, or its own connection broke.
    pub(super) const ONLY_THIS_REQUEST: Self = Self(None);

    /// Whether only this request failed, and others on the channel may go on.
    pub(super) fn is_alone(&self) -> bool {
        self.0.as_ref().is_none_or(h2::Error::is_reset)
    }

    /// What HTTP/2 says about it.
    pub(super) fn of_http2(&self) -> Option<&h2::Error> {
        self.0.as_ref()
    }
}

impl From<h2::Error> for NoAnswer {
    fn from(error: h2::Error) -> Self {
        Self(Some(error))
    }
}
