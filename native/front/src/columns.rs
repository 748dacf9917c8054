//! A wave as Python takes it: columns of equal length, built under the interpreter's lock and nowhere else.

use std::collections::HashMap;

use http::HeaderValue;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};

use crate::clock::{Millis, NEVER};
use crate::event::{Arrival, CallId, Event};

const KNOWN_LIMIT: usize = 4096;
const KNOWN_BYTES: usize = 128;

/// API keys as Python strings: there are few, and each comes often.
#[derive(Default)]
pub struct KnownKeys(HashMap<HeaderValue, Py<PyString>>);

impl KnownKeys {
    fn string<'py>(&mut self, py: Python<'py>, value: HeaderValue) -> Bound<'py, PyString> {
        if let Some(known) = self.0.get(&value) {
            return known.bind(py).clone();
        }
        let made = string(py, &value);
        if value.len() <= KNOWN_BYTES {
            if self.0.len() >= KNOWN_LIMIT {
                self.0.clear();
            }
            // A copy: what arrived shares its memory with everything that came in the same frame.
            if let Ok(own) = HeaderValue::from_bytes(value.as_bytes()) {
                self.0.insert(own, made.clone().unbind());
            }
        }
        made
    }
}

fn string<'py>(py: Python<'py>, value: &HeaderValue) -> Bound<'py, PyString> {
    match value.to_str() {
        Ok(text) => PyString::new(py, text),
        Err(_) => PyString::new(py, &value.as_bytes().iter().copied().map(char::from).collect::<String>()),
    }
}

/// Return `(call ids, payloads, keys, deadlines, traces, watched, left)`.
///
/// `watched` gives, by call id, pairs of the number of a watched name and its value; None where no call brings any.
pub fn columns<'py>(py: Python<'py>, events: Vec<Event>, known: &mut KnownKeys) -> PyResult<Bound<'py, PyTuple>> {
    let mut left: Vec<CallId> = Vec::new();
    let mut calls: Vec<Arrival> = Vec::with_capacity(events.len());
    for event in events {
        match event {
            Event::Call(call) => calls.push(call),
            Event::Left(id) => left.push(id),
        }
    }
    let call_ids = PyList::new(py, calls.iter().map(|call| call.id))?;
    let payloads = PyList::new(py, calls.iter().map(|call| PyBytes::new(py, &call.payload)))?;
    let deadlines = PyList::new(py, calls.iter().map(|call| PyFloat::new(py, seconds(call.deadline))))?;
    let watched = watched(py, &mut calls)?;
    let keys = PyList::new(py, calls.iter_mut().map(|call| call.notes.key.take().map(|key| known.string(py, key))))?;
    let traces = PyList::new(py, calls.iter().map(|call| call.notes.trace.as_ref().map(|trace| string(py, trace))))?;
    let left = PyList::new(py, left)?;
    let columns = [call_ids, payloads, keys, deadlines, traces].map(Bound::into_any);
    PyTuple::new(py, columns.into_iter().chain([watched, left.into_any()]).collect::<Vec<_>>())
}

fn watched<'py>(py: Python<'py>, calls: &mut [Arrival]) -> PyResult<Bound<'py, PyAny>> {
    let mut found: Option<Bound<'py, PyDict>> = None;
    for call in calls {
        let Some(watched) = call.notes.watched.take() else { continue };
        let pairs = PyList::new(py, watched.iter().map(|(name, value)| (*name, string(py, value))))?;
        found.get_or_insert_with(|| PyDict::new(py)).set_item(call.id, pairs)?;
    }
    Ok(found.map_or_else(|| py.None().into_bound(py), Bound::into_any))
}

fn seconds(at: Millis) -> f64 {
    if at == NEVER { f64::INFINITY } else { at as f64 / 1000.0 }
}
