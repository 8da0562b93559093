//! An answer that is a lie, and how often it is given.

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// An answer in place of the honest one.
#[derive(Clone, Debug, Default)]
pub struct Lie {
    answer: Option<Answer>,
    /// How often it is still given; `None` for ever.
    times: Option<usize>,
}

impl Answer {
    /// Without fields and body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: String::new(),
        }
    }

    /// With this field.
    pub fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    /// With `Retry-After`, in seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.field("retry-after", &seconds.to_string())
    }

    /// With an explanation.
    pub fn body(mut self, text: &str) -> Self {
        text.clone_into(&mut self.body);
        self
    }
}

impl Lie {
    /// This answer, so many times; then the honest one.
    pub fn times(times: usize, answer: Answer) -> Self {
        Self {
            answer: Some(answer),
            times: Some(times),
        }
    }

    /// This answer for ever.
    pub fn always(answer: Answer) -> Self {
        Self {
            answer: Some(answer),
            times: None,
        }
    }

    /// The answer to give now; `None` for the honest one.
    pub(super) fn tell(&mut self) -> Option<Answer> {
        match &mut self.times {
            Some(0) => return None,
            Some(times) => *times -= 1,
            None => {}
        }
        self.answer.clone()
    }
}
