//! A model: its configuration and its parameters on a device.

use crate::checkpoint::{self, SaveDtype, Values};
use crate::config::{Config, Parameter};
use crate::error::{Error, Result};
use latrace_kernels::{AttentionShape, Cpu, Device, Rotation};
use std::collections::HashMap;
use std::path::Path;

/// A decoder language model on a device. The forward pass takes `&self`: memory and caches are arguments.
pub struct Model<D: Device = Cpu> {
    /// What `config.json` says.
    pub config: Config,
    pub(crate) device: D,
    pub(crate) parameters: Vec<D::Buffer>,
    pub(crate) layout: Layout,
}

/// A projection's place among the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    pub weight: usize,
    pub bias: Option<usize>,
}

/// Where a layer's parameters are.
#[derive(Clone, Debug)]
pub(crate) struct LayerLayout {
    pub input_norm: usize,
    pub query: Projection,
    pub key: Projection,
    pub value: Projection,
    pub output: Projection,
    /// Norms of the query and key heads.
    pub head_norms: Option<(usize, usize)>,
    pub mlp_norm: usize,
    pub gate: Projection,
    pub up: Projection,
    pub down: Projection,
}

/// Where each parameter is in [`Config::parameters`].
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub embedding: usize,
    pub layers: Vec<LayerLayout>,
    pub norm: usize,
    /// The embedding, if tied.
    pub head: usize,
}

/// Places of parameters by their names in transformers.
struct Places(HashMap<String, usize>);

impl Places {
    fn of(parameters: Vec<Parameter>) -> Self {
        Self(parameters.into_iter().enumerate().map(|(place, parameter)| (parameter.name, place)).collect())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    /// The place of a parameter that every model has.
    fn known(&self, name: &str) -> usize {
        // Callers use names that `Config::parameters` generates; a missing one would be a bug there.
        self.find(name).unwrap_or_else(|| panic!("Config::parameters lists {name}"))
    }

    fn weight(&self, module: &str) -> usize {
        self.known(&format!("{module}.weight"))
    }

    fn projection(&self, module: &str) -> Projection {
        Projection { weight: self.weight(module), bias: self.find(&format!("{module}.bias")) }
    }

    fn layer(&self, i: usize) -> LayerLayout {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        let projection = |part: &str| self.projection(&name(part));
        LayerLayout {
            input_norm: self.weight(&name("input_layernorm")),
            query: projection("self_attn.q_proj"),
            key: projection("self_attn.k_proj"),
            value: projection("self_attn.v_proj"),
            output: projection("self_attn.o_proj"),
            head_norms: self.head_norms(&name("self_attn")),
            mlp_norm: self.weight(&name("post_attention_layernorm")),
            gate: projection("mlp.gate_proj"),
            up: projection("mlp.up_proj"),
            down: projection("mlp.down_proj"),
        }
    }

    fn head_norms(&self, attention: &str) -> Option<(usize, usize)> {
        let find = |norm: &str| self.find(&format!("{attention}.{norm}.weight"));
        find("q_norm").zip(find("k_norm"))
    }
}

impl Layout {
    fn new(config: &Config) -> Self {
        let places = Places::of(config.parameters());
        let embedding = places.weight("model.embed_tokens");
        Self {
            embedding,
            layers: (0..config.layers).map(|i| places.layer(i)).collect(),
            norm: places.weight("model.norm"),
            // Tied models list no head of their own: both uses share one parameter, and so one gradient.
            head: places.find("lm_head.weight").unwrap_or(embedding),
        }
    }

    /// The weights of all projections and of the head, in the order in which a pass uses them.
    pub fn projections(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().flat_map(LayerLayout::projections).chain([self.head])
    }
}

impl LayerLayout {
    fn projections(&self) -> [usize; 7] {
        // Values and keys first: the last layer of a pass projects queries for fewer rows, after storing both.
        [self.value, self.key, self.query, self.output, self.gate, self.up, self.down].map(|p| p.weight)
    }
}

/// Takes host memory to the device, one buffer per vector.
pub(crate) fn upload<D: Device>(device: &D, all: Vec<Vec<f32>>) -> Vec<D::Buffer> {
    all.into_iter().map(|values| device.upload(values)).collect()
}

impl Model<Cpu> {
    /// As [`Model::load_on`], on the CPU.
    ///
    /// # Errors
    /// As [`Model::load_on`].
    pub fn load(dir: &Path) -> Result<Self> {
        Self::load_on(Cpu, dir)
    }

    /// As [`Model::random_on`], on the CPU.
    ///
    /// # Errors
    /// As [`Model::random_on`].
    pub fn random(dir: &Path, seed: u64) -> Result<Self> {
        Self::random_on(Cpu, dir, seed)
    }
}

impl<D: Device> Model<D> {
    /// Takes host parameters, in the order of [`Config::parameters`], to a device.
    pub fn new(device: D, config: Config, parameters: Vec<Vec<f32>>) -> Self {
        let (parameters, layout) = (upload(&device, parameters), Layout::new(&config));
        Self { config, device, parameters, layout }
    }

    /// Reads a Hugging Face folder.
    ///
    /// # Errors
    /// Anything wrong with `config.json` or the weights, naming the file and the tensor.
    pub fn load_on(device: D, dir: &Path) -> Result<Self> {
        let config = Config::read(dir)?;
        let parameters = checkpoint::load(dir, &config)?;
        Ok(Self::new(device, config, parameters))
    }

    /// A randomly initialised model of the shape that the folder's `config.json` gives: the same weights on
    /// every device.
    ///
    /// # Errors
    /// Anything wrong with `config.json`.
    pub fn random_on(device: D, dir: &Path, seed: u64) -> Result<Self> {
        let config = Config::read(dir)?;
        // Drawn on the host, so that the weights do not depend on the device's generator.
        let fresh = checkpoint::initialise(&config, seed);
        Ok(Self::new(device, config, fresh))
    }

    /// Writes the model into the existing folder `out`, with the tokenizer's files of `source`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, out: &Path, dtype: SaveDtype, source: &Path) -> Result<()> {
        self.save_buffers(out, &self.parameters, dtype, source)
    }

    /// Writes buffers of the parameters' shapes as a model folder of their own, one buffer at a time.
    pub(crate) fn save_buffers(
        &self,
        out: &Path,
        buffers: &[D::Buffer],
        dtype: SaveDtype,
        source: &Path,
    ) -> Result<()> {
        let values = buffers.iter().map(|buffer| self.values(buffer)).collect();
        checkpoint::save_values(out, &self.config, values, dtype, source)
    }

    fn values<'a>(&'a self, buffer: &'a D::Buffer) -> Values<'a> {
        // Called when the tensor is written: only one at a time is brought to the host.
        let host = Box::new(|| self.device.host(buffer));
        Values { count: self.device.length(buffer), host }
    }

    /// The parameters, in the order of [`Config::parameters`], as the device holds them.
    pub fn parameters(&self) -> &[D::Buffer] {
        &self.parameters
    }

    /// A buffer of zeros for each parameter, of its length: gradients or moments.
    pub(crate) fn zeros(&self) -> Vec<D::Buffer> {
        self.parameters.iter().map(|p| self.device.zeros(self.device.length(p))).collect()
    }

    pub(crate) fn is_last(&self, layer: usize) -> bool {
        layer + 1 == self.config.layers
    }

    /// The embeddings of `ids`, T×d, into `x`.
    pub(crate) fn embed(&self, x: &mut D::Buffer, ids: &[u32]) {
        let table = &self.parameters[self.layout.embedding];
        self.device.gather_rows(x, ids, table, self.config.hidden_size);
    }

    /// cos and sin of the positions below `positions`.
    pub(crate) fn rotary_table(&self, positions: usize) -> D::Buffer {
        // The variant of rope depends on the model's maximum, not on how many positions are in use.
        let (frequencies, scale) =
            self.config.rope.frequencies(self.config.head_dim, self.config.max_positions);
        self.device.rotary_table(&frequencies, scale, positions)
    }

    /// Values that `blocks` blocks of one layer's cache hold: (keys, values).
    pub(crate) fn cache_lengths(&self, blocks: usize) -> (usize, usize) {
        self.device.cache_lengths(blocks, self.attention_shape())
    }

    /// The weight of a projection.
    pub(crate) fn weight(&self, projection: Projection) -> &D::Buffer {
        &self.parameters[projection.weight]
    }

    /// The weight of the output head.
    pub(crate) fn head(&self) -> &D::Buffer {
        &self.parameters[self.layout.head]
    }

    pub(crate) fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
        }
    }

    /// y = x / rms(x) times parameter `weight`, over `rows` rows as wide as that.
    pub(crate) fn norm(
        &self,
        [y, inverse_rms]: [&mut D::Buffer; 2],
        x: &D::Buffer,
        weight: usize,
        rows: usize,
    ) {
        self.device.rms_norm(y, inverse_rms, x, &self.parameters[weight], self.config.norm_eps, rows);
    }

    /// Applies rotary position embedding to heads, in place.
    pub(crate) fn rotate(
        &self,
        x: &mut D::Buffer,
        positions: &[u32],
        table: &D::Buffer,
        heads: usize,
        rotation: Rotation,
    ) {
        self.device.rotary(x, positions, table, heads, self.config.head_dim, rotation);
    }

    /// The bias of a projection, if it has one.
    pub(crate) fn bias(&self, projection: Projection) -> Option<&D::Buffer> {
        projection.bias.map(|bias| &self.parameters[bias])
    }

    /// What a row must not exceed.
    pub(crate) fn limits(&self) -> TokenLimits {
        TokenLimits { vocabulary: self.config.vocab_size, positions: self.config.max_positions }
    }

    /// Fails unless every id is in the vocabulary and the row fits the positions.
    pub(crate) fn check_ids(&self, row: &str, ids: &[u32]) -> Result<()> {
        self.limits().check_ids(row, ids)
    }
}

/// What the ids and the length of a row must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// Ids are below this.
    pub vocabulary: usize,
    /// Most tokens of a row.
    pub positions: usize,
}

impl TokenLimits {
    /// Fails unless every id is in the vocabulary and the row fits the positions.
    pub(crate) fn check_ids(self, row: &str, ids: &[u32]) -> Result<()> {
        self.check_vocabulary(row, ids)?;
        self.check_length(row, ids.len())
    }

    fn check_length(self, row: &str, got: usize) -> Result<()> {
        let limit = self.positions;
        if got <= limit {
            return Ok(());
        }
        Err(Error::row(row, format!("expected at most {limit} tokens (max_position_embeddings), got {got}")))
    }

    fn check_vocabulary(self, row: &str, ids: &[u32]) -> Result<()> {
        // Checked here, with the row's name: the device itself would only panic at an index out of range.
        let vocabulary = self.vocabulary;
        match ids.iter().enumerate().find(|(_, id)| **id as usize >= vocabulary) {
            Some((at, id)) => {
                Err(Error::row(row, format!("token {at}: expected an id below {vocabulary}, got {id}")))
            }
            None => Ok(()),
        }
    }
}
