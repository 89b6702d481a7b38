//! The only door to an assignor's code where it decides something: it may be the application's own, and a panic in it
//! must end neither the member's task nor its heartbeats. It is an error of that assignor's like any other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::AssignorError;

/// An assignor panicked instead of saying what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {text}")]
pub(crate) struct AssignorPanicked {
    text: String,
}

/// Calls an assignor.
pub(crate) fn call<T>(assignor: impl FnOnce() -> Result<T, AssignorError>) -> Result<T, AssignorError> {
    // Nothing of ours is changed from within, and an assignor keeps nothing from one call to the next.
    let called = catch_unwind(AssertUnwindSafe(assignor));
    called.unwrap_or_else(|panic| Err(AssignorPanicked { text: text_of(&*panic) }.into()))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let text = |called: Result<(), AssignorError>| called.unwrap_err().to_string();
        assert_eq!(text(call(|| panic!("no members"))), "it panicked: no members");
        assert_eq!(text(call(|| panic!("{} members", 0))), "it panicked: 0 members");
        assert_eq!(text(call(|| std::panic::panic_any(7))), "it panicked: without a text");
        assert_eq!(text(call(|| Err("refuses".into()))), "refuses");
        assert_eq!(call(|| Ok(1)).unwrap(), 1);
    }
}
