//! Requests encoded once: afterwards only the key's bytes change.

use bytes::{Bytes, BytesMut};

use crate::framing;

/// A framed request with places for a key.
#[derive(Clone, Debug)]
pub struct Template {
    framed: BytesMut,
    places: Vec<usize>,
    key_len: usize,
}

impl Template {
    /// Encodes `message`, in which `placeholder` stands wherever the key belongs.
    #[must_use]
    pub fn new(message: &impl prost::Message, placeholder: &[u8]) -> Self {
        let framed = BytesMut::from(framing::frame(message));
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(window) = framed.get(at..at + placeholder.len()) {
            if !placeholder.is_empty() && window == placeholder {
                places.push(at);
                at += placeholder.len();
            } else {
                at += 1;
            }
        }
        Self {
            framed,
            places,
            key_len: placeholder.len(),
        }
    }

    /// How often the key occurs.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The request for one key.
    ///
    /// # Panics
    ///
    /// If the key is not as long as the placeholder.
    #[must_use]
    pub fn fill(&self, key: &[u8]) -> Bytes {
        assert_eq!(
            key.len(),
            self.key_len,
            "a key of another length than the placeholder"
        );
        let mut framed = self.framed.clone();
        for &at in &self.places {
            if let Some(place) = framed.get_mut(at..at + key.len()) {
                place.copy_from_slice(key);
            }
        }
        framed.freeze()
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::etcdserverpb::PutRequest;

    use super::*;

    fn put(key: &[u8]) -> PutRequest {
        PutRequest {
            key: Bytes::copy_from_slice(key),
            value: Bytes::from_static(b"value"),
            ..PutRequest::default()
        }
    }

    #[test]
    fn a_filled_template_equals_the_request_encoded_anew() {
        let template = Template::new(&put(&[0xff; 8]), &[0xff; 8]);
        assert_eq!(template.places(), 1);
        for key in [b"key00001", b"key00002"] {
            assert_eq!(template.fill(key), framing::frame(&put(key)));
        }
    }

    #[test]
    fn a_template_without_places_is_the_request_itself() {
        let template = Template::new(&put(b"k"), &[0xff; 4]);
        assert_eq!(template.places(), 0);
        assert_eq!(template.fill(b"none"), framing::frame(&put(b"k")));
    }
}
