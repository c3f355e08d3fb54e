//! A small dense network that learns to repeat its input through a narrow middle; what it cannot repeat is unusual.
//!
//! Hidden layers are tanh, the last is linear. Trained with Adam on the mean squared error. There are no convolutions and no
//! recurrence: on the development data they earned nothing (docs/adr/0015-anomaly-detection.md).
//!
//! Source: Kingma and Ba, "Adam" (2015); Glorot and Bengio (2010) for the first weights.

use crate::Error;
use crate::matrix::{MAX_COLUMNS, Matrix};
use crate::random::Random;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingOptions {
    /// Widths of the hidden layers, in order, each 1 to 512; at most 8 of them.
    pub hidden: Vec<usize>,
    /// How often all rows are seen, 1 to 10 000.
    pub epochs: usize,
    /// Rows between two corrections, 1 to 65 536.
    pub batch: usize,
    /// Adam's step, above 0 to 1.
    pub learning_rate: f64,
    /// Decides the first weights and the order of rows.
    pub seed: u64,
}

/// One layer: out = activation(in × weights + biases).
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Inputs × outputs.
    pub weights: Matrix,
    /// One for each output.
    pub biases: Vec<f64>,
}

/// A network that repeats its input.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoencoder {
    layers: Vec<Layer>,
}

/// The mean squared error over rows and signals, and its derivatives by every weight and bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// The mean squared error.
    pub loss: f64,
    /// As the network's layers.
    pub layers: Vec<Layer>,
}

impl Autoencoder {
    /// Takes weights from elsewhere.
    ///
    /// # Errors
    /// Where layers do not fit each other, or the last does not give what the first takes.
    pub fn from_layers(layers: Vec<Layer>) -> Result<Self, Error> {
        let mut inputs = layers.first().map_or(0, |layer| layer.weights.rows());
        let signals = inputs;
        for (index, layer) in layers.iter().enumerate() {
            if layer.weights.rows() != inputs || layer.biases.len() != layer.weights.columns() {
                let reason = "the widths of weights and biases do not fit";
                return Err(Error::Inconsistent { part: "layer", index, reason });
            }
            if layer.biases.iter().any(|bias| !bias.is_finite()) {
                let reason = "a bias is not a finite number";
                return Err(Error::Inconsistent { part: "layer", index, reason });
            }
            inputs = layer.weights.columns();
        }
        if layers.is_empty() || inputs != signals {
            return Err(Error::Length { what: "outputs of the network", found: inputs, expected: signals });
        }
        Ok(Self { layers })
    }

    /// Trains a network on rows × signals, which should be scaled to a deviation near 1.
    ///
    /// # Errors
    /// With fewer than two rows, or where an option is out of range.
    pub fn fit(rows: &Matrix, options: &TrainingOptions) -> Result<Self, Error> {
        options.check()?;
        if rows.rows() < 2 {
            return Err(Error::TooFewRows { rows: rows.rows(), needed: 2 });
        }
        let mut random = Random::new(options.seed);
        let mut network = Self::first(rows.columns(), &options.hidden, &mut random);
        let mut adam = Adam::new(&network, options.learning_rate);
        let mut work = Work::new(&network);
        let mut order: Vec<usize> = (0..rows.rows()).collect();
        for epoch in 0..options.epochs {
            // The step shrinks to nothing over the training, which takes the noise of small batches out of the end.
            let done = epoch as f64 / options.epochs as f64;
            adam.rate = options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            random.shuffle(&mut order);
            for batch in order.chunks(options.batch) {
                work.clear();
                for row in batch {
                    network.back(rows.row(*row), &mut work);
                }
                adam.step(&mut network, &work.gradients, 1.0 / (batch.len() * rows.columns()) as f64);
            }
        }
        Ok(network)
    }

    /// How many signals a row has.
    #[must_use]
    pub fn signals(&self) -> usize {
        self.layers[0].weights.rows()
    }

    /// What the network makes of a row.
    ///
    /// # Panics
    /// Where the row has another length than [`Autoencoder::signals`].
    #[must_use]
    pub fn repeat(&self, row: &[f64]) -> Vec<f64> {
        assert_eq!(row.len(), self.signals(), "a row has a value for each signal");
        let mut now = row.to_vec();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut next = vec![0.0; layer.biases.len()];
            self.forward(index, &now, &mut next);
            now = next;
        }
        now
    }

    /// The mean squared error of a row.
    ///
    /// # Panics
    /// As [`Autoencoder::repeat`].
    #[must_use]
    pub fn error(&self, row: &[f64]) -> f64 {
        squared_distance(row, &self.repeat(row)) / row.len() as f64
    }

    /// The loss on rows × signals and its derivatives.
    ///
    /// # Errors
    /// Where the rows have another width than the network.
    pub fn gradients(&self, rows: &Matrix) -> Result<Gradients, Error> {
        if rows.columns() != self.signals() {
            return Err(Error::Length { what: "signals", found: rows.columns(), expected: self.signals() });
        }
        let mut work = Work::new(self);
        for row in rows.iter() {
            self.back(row, &mut work);
        }
        let share = 1.0 / (rows.rows().max(1) * rows.columns()) as f64;
        for layer in &mut work.gradients {
            for row in 0..layer.weights.rows() {
                layer.weights.row_mut(row).iter_mut().for_each(|value| *value *= share);
            }
            layer.biases.iter_mut().for_each(|value| *value *= share);
        }
        Ok(Gradients { loss: work.loss * share, layers: work.gradients })
    }

    /// The layers, the first one first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    fn first(signals: usize, hidden: &[usize], random: &mut Random) -> Self {
        let mut widths = vec![signals];
        widths.extend(hidden);
        widths.push(signals);
        let layers = widths.windows(2).map(|pair| {
            let limit = (6.0 / (pair[0] + pair[1]) as f64).sqrt();
            let mut weights = Matrix::zeros(pair[0], pair[1]);
            for row in 0..pair[0] {
                weights.row_mut(row).iter_mut().for_each(|w| *w = limit * (2.0 * random.uniform() - 1.0));
            }
            Layer { weights, biases: vec![0.0; pair[1]] }
        });
        Self { layers: layers.collect() }
    }

    fn forward(&self, index: usize, input: &[f64], out: &mut [f64]) {
        let layer = &self.layers[index];
        out.copy_from_slice(&layer.biases);
        for (value, weights) in input.iter().zip(layer.weights.iter()) {
            for (sum, weight) in out.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
        if index + 1 < self.layers.len() {
            out.iter_mut().for_each(|value| *value = value.tanh());
        }
    }

    /// Adds one row's squared error and its derivatives to `work`.
    fn back(&self, row: &[f64], work: &mut Work) {
        work.outputs[0].copy_from_slice(row);
        for index in 0..self.layers.len() {
            let (before, after) = work.outputs.split_at_mut(index + 1);
            self.forward(index, &before[index], &mut after[0]);
        }
        let last = self.layers.len();
        work.loss += squared_distance(row, &work.outputs[last]);
        work.deltas[last].clear();
        let wrong = work.outputs[last].iter().zip(row).map(|(out, value)| 2.0 * (out - value));
        work.deltas[last].extend(wrong);
        for index in (0..last).rev() {
            let (before, after) = work.deltas.split_at_mut(index + 1);
            let (delta, gradients) = (&after[0], &mut work.gradients[index]);
            for (sum, delta) in gradients.biases.iter_mut().zip(delta) {
                *sum += delta;
            }
            before[index].clear();
            for (input, value) in work.outputs[index].iter().enumerate() {
                for (sum, delta) in gradients.weights.row_mut(input).iter_mut().zip(delta) {
                    *sum += value * delta;
                }
                let through = crate::matrix::dot(self.layers[index].weights.row(input), delta);
                before[index].push(through * (1.0 - value * value));
            }
        }
    }
}

impl TrainingOptions {
    /// Whether every option is in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        let option = |name, value, allowed| Err(Error::Option { name, value, allowed });
        if !(1..=8).contains(&self.hidden.len()) {
            return option("hidden layers", self.hidden.len() as f64, "1 to 8");
        }
        if let Some(width) = self.hidden.iter().find(|width| !(1..=MAX_COLUMNS).contains(*width)) {
            return option("hidden width", *width as f64, "1 to 512");
        }
        if !(1..=10_000).contains(&self.epochs) {
            return option("epochs", self.epochs as f64, "1 to 10000");
        }
        if !(1..=65_536).contains(&self.batch) {
            return option("batch", self.batch as f64, "1 to 65536");
        }
        if self.learning_rate.is_nan() || self.learning_rate <= 0.0 || self.learning_rate > 1.0 {
            return option("learning_rate", self.learning_rate, "above 0 to 1");
        }
        Ok(())
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Room for one pass forth and back.
struct Work {
    loss: f64,
    /// The input, then what each layer gives.
    outputs: Vec<Vec<f64>>,
    /// Derivatives of the error by what goes into each layer's activation; the first is that of the input.
    deltas: Vec<Vec<f64>>,
    gradients: Vec<Layer>,
}

impl Work {
    fn new(network: &Autoencoder) -> Self {
        let widths = network.layers.iter().map(|layer| layer.biases.len());
        let outputs: Vec<Vec<f64>> =
            std::iter::once(network.signals()).chain(widths).map(|width| vec![0.0; width]).collect();
        let gradients = network.layers.iter().map(|layer| Layer {
            weights: Matrix::zeros(layer.weights.rows(), layer.weights.columns()),
            biases: vec![0.0; layer.biases.len()],
        });
        Self { loss: 0.0, deltas: outputs.clone(), outputs, gradients: gradients.collect() }
    }

    fn clear(&mut self) {
        self.loss = 0.0;
        for layer in &mut self.gradients {
            (0..layer.weights.rows()).for_each(|row| layer.weights.row_mut(row).fill(0.0));
            layer.biases.fill(0.0);
        }
    }
}

/// Steps whose size does not depend on the size of the derivatives.
struct Adam {
    rate: f64,
    steps: i32,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Adam {
    const FIRST_DECAY: f64 = 0.9;
    const SECOND_DECAY: f64 = 0.999;
    const EPSILON: f64 = 1e-8;

    fn new(network: &Autoencoder, rate: f64) -> Self {
        let count =
            network.layers.iter().map(|l| l.weights.rows() * l.weights.columns() + l.biases.len()).sum();
        Self { rate, steps: 0, first: vec![0.0; count], second: vec![0.0; count] }
    }

    fn step(&mut self, network: &mut Autoencoder, gradients: &[Layer], share: f64) {
        self.steps = self.steps.saturating_add(1);
        let first_scale = 1.0 / (1.0 - Self::FIRST_DECAY.powi(self.steps));
        let second_scale = 1.0 / (1.0 - Self::SECOND_DECAY.powi(self.steps));
        let mut moments = self.first.iter_mut().zip(&mut self.second);
        let mut change = |value: &mut f64, gradient: f64| {
            let Some((first, second)) = moments.next() else { return };
            let gradient = gradient * share;
            *first = Self::FIRST_DECAY * *first + (1.0 - Self::FIRST_DECAY) * gradient;
            *second = Self::SECOND_DECAY * *second + (1.0 - Self::SECOND_DECAY) * gradient * gradient;
            *value -= self.rate * *first * first_scale / ((*second * second_scale).sqrt() + Self::EPSILON);
        };
        for (layer, gradient) in network.layers.iter_mut().zip(gradients) {
            for row in 0..gradient.weights.rows() {
                let weights = layer.weights.row_mut(row).iter_mut();
                weights.zip(gradient.weights.row(row)).for_each(|(weight, g)| change(weight, *g));
            }
            layer.biases.iter_mut().zip(&gradient.biases).for_each(|(bias, g)| change(bias, *g));
        }
    }
}
