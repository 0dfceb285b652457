//! A model's weights as one flat vector, sorted by name, so that gradients and moments are flat vectors too.

/// Where one tensor lies in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// The tensor's name in the checkpoint, such as `encoder.layer.0.attention.self.query.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first number's index.
    pub offset: usize,
    /// How many numbers it has.
    pub len: usize,
    /// True where weight decay applies: not to biases, not to layer norms.
    pub decay: bool,
}

/// A model's weights.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// All tensors end to end, in the order of `specs`.
    pub flat: Vec<f32>,
    /// The tensors.
    pub specs: Vec<ParameterSpec>,
}
