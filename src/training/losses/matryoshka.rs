//! MatryoshkaLoss over MultipleNegativesRankingLoss, as sentence-transformers defines them.

/// The dimensions, their weights and the scale.
#[derive(Debug, Clone, PartialEq)]
pub struct MatryoshkaLoss {
    /// Lengths to which embeddings are cut, in descending order.
    pub dims: Vec<usize>,
    /// Each dimension's weight.
    pub weights: Vec<f64>,
    /// Multiplies cosine similarities.
    pub scale: f64,
}

/// One batch's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LossOutput {
    /// The weighted sum over dimensions.
    pub total: f64,
    /// Each dimension's loss before weighting.
    pub per_dim: Vec<f64>,
}

impl MatryoshkaLoss {
    /// The loss of one micro-batch and its gradient. `anchors` and `positives` are `[pairs, dimension]`; row i of
    /// `positives` answers row i of `anchors`, and the other rows are its negatives. Writes `factor` times the gradient
    /// into `d_anchors` and `d_positives` (same shapes).
    pub fn forward_backward(
        &self,
        _anchors: &[f32],
        _positives: &[f32],
        _dimension: usize,
        _factor: f32,
        _d_anchors: &mut [f32],
        _d_positives: &mut [f32],
    ) -> LossOutput {
        todo!("engine")
    }
}
