//! A model: its configuration and its parameters on a device.

use crate::checkpoint::{self, SaveDtype, Values};
use crate::config::{Config, Parameter};
use crate::error::Error;
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

impl Layout {
    fn new(parameters: &[Parameter], layers: usize) -> Self {
        let index: HashMap<&str, usize> =
            parameters.iter().enumerate().map(|(i, p)| (p.name.as_str(), i)).collect();
        let find = |name: String| index.get(name.as_str()).copied();
        // Every name below is one that `Config::parameters` makes; a missing one would be a defect there.
        let known =
            |name: String| find(name.clone()).unwrap_or_else(|| panic!("Config::parameters lists {name}"));
        let layer = |i: usize| {
            let name = |part: &str| format!("model.layers.{i}.{part}");
            let projection = |part: &str| Projection {
                weight: known(name(&format!("{part}.weight"))),
                bias: find(name(&format!("{part}.bias"))),
            };
            LayerLayout {
                input_norm: known(name("input_layernorm.weight")),
                query: projection("self_attn.q_proj"),
                key: projection("self_attn.k_proj"),
                value: projection("self_attn.v_proj"),
                output: projection("self_attn.o_proj"),
                head_norms: find(name("self_attn.q_norm.weight")).zip(find(name("self_attn.k_norm.weight"))),
                mlp_norm: known(name("post_attention_layernorm.weight")),
                gate: projection("mlp.gate_proj"),
                up: projection("mlp.up_proj"),
                down: projection("mlp.down_proj"),
            }
        };
        // Tied models list no head of their own: both uses share one parameter, and so one gradient.
        let embedding = known("model.embed_tokens.weight".into());
        Self {
            embedding,
            layers: (0..layers).map(layer).collect(),
            norm: known("model.norm.weight".into()),
            head: find("lm_head.weight".into()).unwrap_or(embedding),
        }
    }

    /// The weights of all projections and of the head, in the order in which a pass uses them.
    pub fn projections(&self) -> impl Iterator<Item = usize> {
        let of_layer = |layer: &LayerLayout| {
            [layer.value, layer.key, layer.query, layer.output, layer.gate, layer.up, layer.down]
                .map(|p| p.weight)
        };
        self.layers.iter().flat_map(of_layer).chain([self.head])
    }
}

impl Model<Cpu> {
    /// As [`Model::load_on`], on the CPU.
    ///
    /// # Errors
    /// As [`Model::load_on`].
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::load_on(Cpu, dir)
    }

    /// As [`Model::random_on`], on the CPU.
    ///
    /// # Errors
    /// As [`Model::random_on`].
    pub fn random(dir: &Path, seed: u64) -> Result<Self, Error> {
        Self::random_on(Cpu, dir, seed)
    }
}

impl<D: Device> Model<D> {
    /// Takes host parameters, in the order of [`Config::parameters`], to a device.
    pub fn new(device: D, config: Config, parameters: Vec<Vec<f32>>) -> Self {
        let layout = Layout::new(&config.parameters(), config.layers);
        let parameters = parameters.into_iter().map(|p| device.upload(p)).collect();
        Self { config, device, parameters, layout }
    }

    /// Reads a Hugging Face folder.
    ///
    /// # Errors
    /// Anything wrong with `config.json` or the weights, naming the file and the tensor.
    pub fn load_on(device: D, dir: &Path) -> Result<Self, Error> {
        let config = Config::read(dir)?;
        let parameters = checkpoint::load(dir, &config)?;
        Ok(Self::new(device, config, parameters))
    }

    /// A randomly initialised model of the shape that the folder's `config.json` gives: the same weights on
    /// every device.
    ///
    /// # Errors
    /// Anything wrong with `config.json`.
    pub fn random_on(device: D, dir: &Path, seed: u64) -> Result<Self, Error> {
        let config = Config::read(dir)?;
        let parameters = checkpoint::initialise(&config, seed);
        Ok(Self::new(device, config, parameters))
    }

    /// Writes the model into the existing folder `out`, with the tokenizer's files of `source`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn save(&self, out: &Path, dtype: SaveDtype, source: &Path) -> Result<(), Error> {
        self.save_buffers(out, &self.parameters, dtype, source)
    }

    /// Writes buffers of the parameters' shapes as a model folder of their own, one buffer at a time.
    pub(crate) fn save_buffers(
        &self,
        out: &Path,
        buffers: &[D::Buffer],
        dtype: SaveDtype,
        source: &Path,
    ) -> Result<(), Error> {
        let values = |buffer| Values {
            count: self.device.length(buffer),
            host: Box::new(|| self.device.host(buffer)),
        };
        let values = buffers.iter().map(values).collect();
        checkpoint::save_values(out, &self.config, values, dtype, source)
    }

    /// The parameters, in the order of [`Config::parameters`], as the device holds them.
    pub fn parameters(&self) -> &[D::Buffer] {
        &self.parameters
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

    /// Turns heads by their positions, in place.
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

    /// Fails unless every id is in the vocabulary and the row fits the positions.
    pub(crate) fn check_ids(&self, row: &str, ids: &[u32]) -> Result<(), Error> {
        let vocabulary = self.config.vocab_size;
        if let Some((at, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= vocabulary) {
            return Err(Error::Row {
                id: row.into(),
                detail: format!("token {at}: expected an id below {vocabulary}, got {id}"),
            });
        }
        if ids.len() > self.config.max_positions {
            let detail = format!(
                "expected at most {} tokens (max_position_embeddings), got {}",
                self.config.max_positions,
                ids.len()
            );
            return Err(Error::Row { id: row.into(), detail });
        }
        Ok(())
    }
}
