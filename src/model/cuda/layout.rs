//! Where tensors lie on the device: not sorted by name as on the host, but so that what is computed as one lies side by
//! side, and what decays lies before what does not.

use std::ops::Range;

use crate::model::{ModelError, ParameterSpec};

/// A tensor's place on the host and on the device.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    host: Range<usize>,
    device: usize,
}

/// The places of all tensors.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    places: Vec<Place>,
    /// Numbers before this decay.
    decaying: usize,
    len: usize,
}

/// Names in the order of the device: query, key and value one after the other.
fn order(spec: &ParameterSpec) -> (bool, String) {
    let parts = [(".self.query.", ".self.0."), (".self.key.", ".self.1."), (".self.value.", ".self.2.")];
    let name = parts.iter().fold(spec.name.clone(), |name, (from, to)| name.replace(from, to));
    (!spec.decay, name)
}

impl Layout {
    pub(crate) fn new(specs: &[ParameterSpec]) -> Self {
        let mut specs: Vec<&ParameterSpec> = specs.iter().collect();
        specs.sort_by_key(|spec| order(spec));
        let (mut places, mut decaying, mut len) = (Vec::new(), 0, 0);
        for spec in specs {
            places.push(Place { name: spec.name.clone(), host: spec.offset..spec.offset + spec.len, device: len });
            len += spec.len;
            decaying = if spec.decay { len } else { decaying };
        }
        Self { places, decaying, len }
    }

    /// True where every tensor begins where 8 numbers may be read at once.
    pub(crate) fn is_aligned(&self) -> bool {
        self.places.iter().all(|place| place.device % 8 == 0)
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Numbers before this decay.
    pub(crate) fn decaying(&self) -> usize {
        self.decaying
    }

    /// The first number of the tensor called `name`.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn find(&self, name: &str) -> Result<usize, ModelError> {
        let place = self.places.iter().find(|place| place.name == name);
        let place = place.ok_or_else(|| ModelError::Unsupported(format!("the tensor `{name}` is missing")))?;
        Ok(place.device)
    }

    /// The host's numbers in the device's order.
    pub(crate) fn to_device(&self, flat: &[f32]) -> Vec<f32> {
        let mut device = vec![0.0; self.len];
        for place in &self.places {
            device[place.device..place.device + place.host.len()].copy_from_slice(&flat[place.host.clone()]);
        }
        device
    }

    /// The device's numbers in the host's order.
    pub(crate) fn to_host(&self, device: &[f32], flat: &mut [f32]) {
        for place in &self.places {
            flat[place.host.clone()].copy_from_slice(&device[place.device..place.device + place.host.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_as_one_lies_side_by_side_and_what_decays_comes_first() {
        let names = [
            "embeddings.LayerNorm.bias",
            "embeddings.word_embeddings.weight",
            "encoder.layer.0.attention.self.key.bias",
            "encoder.layer.0.attention.self.key.weight",
            "encoder.layer.0.attention.self.query.bias",
            "encoder.layer.0.attention.self.query.weight",
            "encoder.layer.0.attention.self.value.bias",
            "encoder.layer.0.attention.self.value.weight",
        ];
        let lens = [2, 6, 2, 4, 2, 4, 2, 4];
        let mut offset = 0;
        let specs: Vec<ParameterSpec> = names
            .iter()
            .zip(lens)
            .map(|(name, len)| {
                offset += len;
                let decay = !name.ends_with("bias");
                ParameterSpec { name: (*name).into(), shape: vec![len], offset: offset - len, len, decay }
            })
            .collect();
        let layout = Layout::new(&specs);
        assert_eq!((layout.len(), layout.decaying()), (26, 18));
        let find = |part: &str| layout.find(&format!("encoder.layer.0.attention.self.{part}")).expect("it is there");
        assert_eq!([find("query.weight"), find("key.weight"), find("value.weight")], [6, 10, 14]);
        assert_eq!([find("query.bias"), find("key.bias"), find("value.bias")], [20, 22, 24]);
        assert!(layout.find("pooler").is_err());
        let flat: Vec<f32> = (0_u8..26).map(f32::from).collect();
        let device = layout.to_device(&flat);
        assert_eq!(device[6..10], flat[specs[5].offset..specs[5].offset + 4]);
        let mut back = vec![0.0; 26];
        layout.to_host(&device, &mut back);
        assert_eq!(back, flat);
    }
}
