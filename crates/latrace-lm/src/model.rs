//! A model: its configuration and its parameters on a device.

use crate::adapter::{self, Adapter, Lora, Part};
use crate::checkpoint::{self, Held, SaveDtype, Tensor, Values};
use crate::config::{Config, Parameter};
use crate::error::{Error, Result};
use latrace_kernels::{AttentionShape, Cpu, Device, Rotation, Weight};
use std::collections::HashMap;
use std::path::Path;

/// A decoder language model on a device. The forward pass takes `&self`: memory and caches are arguments.
pub struct Model<D: Device = Cpu> {
    /// What `config.json` says.
    pub config: Config,
    pub(crate) device: D,
    pub(crate) parameters: Vec<D::Buffer>,
    /// By parameter of the base: what is held in bf16, whose place among the others is empty.
    narrow: Vec<Option<D::Narrow>>,
    pub(crate) layout: Layout,
    adapter: Option<Adapter>,
}

/// A projection's place among the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    pub weight: usize,
    pub bias: Option<usize>,
    pub low_rank: Option<LowRank>,
}

/// The places of a projection's adapter, its rank r and its scale s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowRank {
    pub a: usize,
    pub b: usize,
    pub rank: usize,
    pub scale: f32,
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

/// Places of parameters by their names in transformers, and what is adapted.
struct Places<'a> {
    by_name: HashMap<String, usize>,
    adapter: Option<&'a Adapter>,
}

impl<'a> Places<'a> {
    fn of(parameters: Vec<Parameter>, adapter: Option<&'a Adapter>) -> Self {
        let by_name = parameters.into_iter().enumerate().map(|(place, parameter)| (parameter.name, place));
        Self { by_name: by_name.collect(), adapter }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
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
        let bias = self.find(&format!("{module}.bias"));
        Projection { weight: self.weight(module), bias, low_rank: self.low_rank(module) }
    }

    fn low_rank(&self, module: &str) -> Option<LowRank> {
        let Part { rank, scale, .. } = *self.adapter?.parts.iter().find(|part| part.module == module)?;
        let [a, b] = Part::names(module).map(|name| self.known(&name));
        Some(LowRank { a, b, rank, scale })
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
    fn new(config: &Config, adapter: Option<&Adapter>) -> Self {
        let places = Places::of(described(config, adapter), adapter);
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
        self.layers.iter().flat_map(LayerLayout::projections).map(|p| p.weight).chain([self.head])
    }
}

impl LayerLayout {
    fn projections(&self) -> [Projection; 7] {
        // Values and keys first: the last layer of a pass projects queries for fewer rows, after storing both.
        [self.value, self.key, self.query, self.output, self.gate, self.up, self.down]
    }
}

/// The parameters of a model, then those of its adapter.
fn described(config: &Config, adapter: Option<&Adapter>) -> Vec<Parameter> {
    let adapted = adapter.map(Adapter::parameters).unwrap_or_default();
    config.parameters().into_iter().chain(adapted).collect()
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
        Self::load_on(Cpu::default(), dir)
    }

    /// As [`Model::random_on`], on the CPU.
    ///
    /// # Errors
    /// As [`Model::random_on`].
    pub fn random(dir: &Path, seed: u64) -> Result<Self> {
        Self::random_on(Cpu::default(), dir, seed)
    }
}

impl<D: Device> Model<D> {
    /// Takes host parameters, in the order of [`Config::parameters`], to a device.
    pub fn new(device: D, config: Config, parameters: Vec<Vec<f32>>) -> Self {
        Self::of_held(device, config, parameters.into_iter().map(Held::Wide).collect())
    }

    fn of_held(device: D, config: Config, held: Vec<Held>) -> Self {
        let (mut parameters, mut narrow) = (Vec::new(), Vec::new());
        for held in held {
            let (wide, half) = match held {
                Held::Wide(values) => (values, None),
                Held::Narrow(values) => (Vec::new(), Some(device.upload_narrow(values))),
            };
            parameters.push(device.upload(wide));
            narrow.push(half);
        }
        let layout = Layout::new(&config, None);
        Self { config, device, parameters, narrow, layout, adapter: None }
    }

    /// Reads a Hugging Face folder: a model, or an adapter together with its base. Matrices that are stored in bf16 stay
    /// so in memory, until they are trained.
    ///
    /// # Errors
    /// Anything wrong with `config.json` or the weights, naming the file and the tensor.
    pub fn load_on(device: D, dir: &Path) -> Result<Self> {
        let config = Config::read(dir)?;
        let Some(base) = adapter::base_of(dir)? else {
            let held = checkpoint::load_held(dir, &config)?;
            return Ok(Self::of_held(device, config, held));
        };
        let base = Self::load_on(device, &base)?;
        let (adapter, values) = adapter::load(dir, &config)?;
        Ok(Self { config, ..base.adapted(adapter, values) })
    }

    /// The model with an adapter, whose values are A and B of each part.
    fn adapted(mut self, adapter: Adapter, values: Vec<Vec<f32>>) -> Self {
        self.parameters.extend(upload(&self.device, values));
        Self { layout: Layout::new(&self.config, Some(&adapter)), adapter: Some(adapter), ..self }
    }

    /// The model as training with `settings` begins from it: with its adapter, if it has one that fits them, or with a new
    /// one on the model in the folder `dir`.
    pub(crate) fn with_lora(self, settings: &Lora, dir: &Path, seed: u64) -> Result<Self> {
        if let Some(adapter) = &self.adapter {
            adapter.check_continues(&self.config, settings)?;
            return Ok(self);
        }
        let adapter = Adapter::new(&self.config, settings, dir)?;
        let values = adapter.initialise(seed);
        Ok(self.adapted(adapter, values))
    }

    /// The model in one piece: W + s·B·A for each adapted projection.
    #[must_use]
    pub fn merged(mut self) -> Self {
        let projections: Vec<_> = self.layout.layers.iter().flat_map(LayerLayout::projections).collect();
        for projection in projections {
            let Some(LowRank { a, b, rank, scale }) = projection.low_rank else { continue };
            let mut scaled = std::mem::replace(&mut self.parameters[b], self.device.zeros(0));
            let outputs = self.device.length(&scaled) / rank;
            self.device.scale(&mut scaled, scale, outputs * rank);
            let inputs = self.device.length(&self.parameters[a]) / rank;
            self.widen(projection.weight);
            let mut weight = std::mem::replace(&mut self.parameters[projection.weight], self.device.zeros(0));
            // B·A is the gradient of the inputs of a projection by A at the outputs' gradient B.
            let a = self.weight_at(a);
            self.device.linear_input_gradient_add(&mut weight, &scaled, a, outputs, inputs);
            self.parameters[projection.weight] = weight;
        }
        self.parameters.truncate(self.base_count());
        Self { layout: Layout::new(&self.config, None), adapter: None, ..self }
    }

    /// What the model has been adapted by.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// What each of [`Model::parameters`] is.
    pub fn described(&self) -> Vec<Parameter> {
        described(&self.config, self.adapter.as_ref())
    }

    /// Parameters before those of the adapter.
    fn base_count(&self) -> usize {
        self.narrow.len()
    }

    /// Whether a parameter is the adapter's, by its place in [`Model::parameters`].
    pub(crate) fn is_of_adapter(&self, parameter: usize) -> bool {
        parameter >= self.base_count()
    }

    /// The largest rank of an adapter; 0 without any.
    pub(crate) fn most_rank(&self) -> usize {
        self.adapter.iter().flat_map(|adapter| &adapter.parts).map(|part| part.rank).max().unwrap_or(0)
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

    /// Writes the model into the existing folder `out`, with the tokenizer's files of `source`; of an adapted model,
    /// the adapter.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, out: &Path, dtype: SaveDtype, source: &Path) -> Result<()> {
        let values = (0..self.parameters.len()).map(|at| self.values_at(at)).collect();
        let all = checkpoint::named(self.described(), values)?;
        match &self.adapter {
            None => checkpoint::save_values(out, &self.config, &all, dtype, source),
            Some(adapter) => {
                let own = &all[self.base_count()..];
                adapter::save(out, adapter, own, dtype, source)
            }
        }
    }

    /// Buffers with the shapes and names of parameters, to be written one at a time.
    pub(crate) fn named<'a>(
        &'a self,
        parameters: Vec<Parameter>,
        buffers: impl Iterator<Item = &'a D::Buffer>,
    ) -> Result<Vec<Tensor<'a>>> {
        checkpoint::named(parameters, buffers.map(|buffer| self.values(buffer)).collect())
    }

    fn values_at(&self, parameter: usize) -> Values<'_> {
        match self.weight_at(parameter) {
            Weight::Wide(buffer) => self.values(buffer),
            Weight::Narrow(narrow) => {
                let host = Box::new(|| self.device.host(&self.device.widen(narrow)).into_owned().into());
                Values { count: self.device.narrow_length(narrow), host }
            }
        }
    }

    fn values<'a>(&'a self, buffer: &'a D::Buffer) -> Values<'a> {
        // Called when the tensor is written: only one at a time is brought to the host.
        let host = Box::new(|| self.device.host(buffer));
        Values { count: self.device.length(buffer), host }
    }

    /// The parameters, in the order of [`Config::parameters`], as the device holds them; then the adapter's, A and B of
    /// each part.
    pub fn parameters(&self) -> &[D::Buffer] {
        &self.parameters
    }

    /// A buffer of zeros for each parameter: gradients or moments. Those of frozen ones are empty.
    pub(crate) fn zeros(&self, trained: &[bool]) -> Vec<D::Buffer> {
        let zeros =
            |(at, trained): (usize, &bool)| self.device.zeros(if *trained { self.count(at) } else { 0 });
        trained.iter().enumerate().map(zeros).collect()
    }

    /// Values of a parameter.
    pub(crate) fn count(&self, parameter: usize) -> usize {
        match self.weight_at(parameter) {
            Weight::Wide(buffer) => self.device.length(buffer),
            Weight::Narrow(narrow) => self.device.narrow_length(narrow),
        }
    }

    /// A parameter as it is held.
    pub(crate) fn weight_at(&self, parameter: usize) -> Weight<'_, D> {
        match self.narrow.get(parameter) {
            Some(Some(narrow)) => Weight::Narrow(narrow),
            _ => Weight::Wide(&self.parameters[parameter]),
        }
    }

    /// The model with its matrices rounded to bf16, in half of the memory.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        let parameters = self.config.parameters();
        for (at, _) in parameters.iter().enumerate().filter(|(_, parameter)| parameter.shape.len() > 1) {
            if self.narrow[at].is_none() {
                let wide = std::mem::replace(&mut self.parameters[at], self.device.zeros(0));
                self.narrow[at] = Some(self.device.narrow(&wide));
            }
        }
        self
    }

    /// Holds a parameter in f32 from now on, as what is to change must be.
    pub(crate) fn widen(&mut self, parameter: usize) {
        if let Some(narrow) = self.narrow.get_mut(parameter).and_then(Option::take) {
            self.parameters[parameter] = self.device.widen(&narrow);
        }
    }

    /// Frees what holds a parameter of the base.
    pub(crate) fn free(&mut self, parameter: usize) {
        self.parameters[parameter] = self.device.zeros(0);
        self.narrow[parameter] = None;
    }

    pub(crate) fn is_last(&self, layer: usize) -> bool {
        layer + 1 == self.config.layers
    }

    /// The embeddings of `ids`, T×d, into `x`.
    pub(crate) fn embed(&self, x: &mut D::Buffer, ids: &[u32]) {
        let table = self.weight_at(self.layout.embedding);
        self.device.embed(x, ids, table, self.config.hidden_size);
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
    pub(crate) fn weight(&self, projection: Projection) -> Weight<'_, D> {
        self.weight_at(projection.weight)
    }

    /// The weight of the output head.
    pub(crate) fn head(&self) -> Weight<'_, D> {
        self.weight_at(self.layout.head)
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
