//! A status that ends a call, ready to be sent any number of times.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Status, message and trailing metadata of a call that is refused; made once, sent often.
#[pyclass(frozen, module = "penstock_front")]
#[derive(Clone)]
pub struct Refusal(Arc<HeaderMap>);

#[pymethods]
impl Refusal {
    /// `trailers` are pairs of name and value as they go on the wire: a `-bin` value is base64.
    #[new]
    fn new(code: u16, message: &str, trailers: Vec<(String, String)>) -> PyResult<Self> {
        let mut headers = HeaderMap::with_capacity(trailers.len() + 3);
        headers.insert(STATUS, HeaderValue::from(code));
        if !message.is_empty() {
            headers.insert(MESSAGE, percent_encoded(message.as_bytes()));
        }
        for (name, value) in trailers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| no_header(&name))?;
            let value = HeaderValue::from_str(&value).map_err(|_| no_header(name.as_str()))?;
            headers.append(name, value);
        }
        Ok(Self(Arc::new(headers)))
    }
}

impl Refusal {
    /// Make one of our own, without trailers.
    pub fn plain(code: u16, message: &str) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(STATUS, HeaderValue::from(code));
        headers.insert(MESSAGE, percent_encoded(message.as_bytes()));
        if code == 12 {
            headers.insert(ACCEPTED, HeaderValue::from_static("identity,deflate,gzip"));
        }
        Self(Arc::new(headers))
    }

    /// Return the headers of an answer that is nothing but this status.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = self.trailers();
        headers.insert(CONTENT_TYPE, GRPC);
        headers
    }

    /// Return what follows headers and messages that were sent before.
    pub fn trailers(&self) -> HeaderMap {
        HeaderMap::clone(&self.0)
    }
}

fn no_header(name: &str) -> PyErr {
    PyValueError::new_err(format!("{name:?} or its value can be no trailer"))
}

/// Write bytes as `grpc-message` carries them.
fn percent_encoded(bytes: &[u8]) -> HeaderValue {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unreadable"))
}
