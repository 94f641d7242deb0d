//! What tracing can do on this kernel, one named thing at a time.

/// One thing the agent can do, or cannot and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub name: &'static str,
    /// What is not seen without it.
    pub without: &'static str,
    /// `None`: it works.
    pub loss: Option<Loss>,
}

/// Why a capability is lost, and what would bring it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub why: String,
    pub remedy: String,
}

impl Capability {
    pub fn works(&self) -> bool {
        self.loss.is_none()
    }
}

/// The one thing to say where nothing can be loaded.
pub(super) fn nothing_works(error: &super::KernelError) -> Capability {
    Capability {
        name: "kernel programs",
        without: "anything",
        loss: Some(Loss { why: error.to_string(), remedy: "see the line above".into() }),
    }
}
