//! Reading signed JSON objects strictly: bounded, exactly the fields that are known, each of its form.

use serde_json::{Map, Value};

use crate::pseudonym::{FieldFault, signed};

/// The largest integer that canonical JSON carries (2⁵³ − 1).
pub(super) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Why something is not an object of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeFault {
    /// It is longer than anything of its kind.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It is not a JSON object with a canonical form.
    #[error("it is not a JSON object that can be signed")]
    NotAnObject,
    /// It has a field that such objects do not have.
    #[error("it has a field that does not belong there")]
    ExtraField,
    /// A field is not what it must be.
    #[error("{field}: {fault}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fault: FieldFault,
    },
}

impl ShapeFault {
    pub(super) fn field(field: &'static str, fault: FieldFault) -> Self {
        Self::Field { field, fault }
    }

    pub(super) fn malformed(field: &'static str) -> Self {
        Self::field(field, FieldFault::Malformed)
    }
}

/// An object whose fields are all known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Value, known: &[&str]) -> Result<Self, ShapeFault> {
        let object = value.as_object().ok_or(ShapeFault::NotAnObject)?;
        if object.keys().any(|name| !known.contains(&name.as_str())) {
            return Err(ShapeFault::ExtraField);
        }
        Ok(Self(object))
    }

    pub(super) fn text(self, field: &'static str) -> Result<&'a str, ShapeFault> {
        signed::text(self.0, field).map_err(|fault| ShapeFault::field(field, fault))
    }

    pub(super) fn require(self, field: &'static str, expected: &str) -> Result<(), ShapeFault> {
        signed::require(self.0, field, expected).map_err(|fault| ShapeFault::field(field, fault))
    }

    /// A string that `parse` takes.
    pub(super) fn parsed<T>(
        self,
        field: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ShapeFault> {
        parse(self.text(field)?).ok_or(ShapeFault::malformed(field))
    }

    pub(super) fn value(self, field: &'static str) -> Result<&'a Value, ShapeFault> {
        self.0
            .get(field)
            .ok_or(ShapeFault::field(field, FieldFault::Missing))
    }

    /// A number of milliseconds, or a count.
    pub(super) fn number(self, field: &'static str) -> Result<u64, ShapeFault> {
        self.value(field)?
            .as_u64()
            .filter(|number| *number <= MAX_NUMBER)
            .ok_or(ShapeFault::malformed(field))
    }

    pub(super) fn object(self, field: &'static str) -> Result<&'a Map<String, Value>, ShapeFault> {
        self.value(field)?
            .as_object()
            .ok_or(ShapeFault::malformed(field))
    }

    /// The bytes that are signed.
    pub(super) fn signed_bytes(self) -> Result<Vec<u8>, ShapeFault> {
        signed::bytes_of(self.0).ok_or(ShapeFault::NotAnObject)
    }

    pub(super) fn map(self) -> &'a Map<String, Value> {
        self.0
    }
}

/// Reads JSON of at most `max` bytes.
pub(super) fn read(json: &[u8], max: usize) -> Result<Value, ShapeFault> {
    if json.len() > max {
        return Err(ShapeFault::TooLong(max));
    }
    serde_json::from_slice(json).map_err(|_| ShapeFault::NotAnObject)
}
