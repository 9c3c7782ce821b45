"""Trains a model, or scores rows with it, as a job file says: one process per rank, FSDP2 and transformers.

latrace writes this file beside the job, which holds every decision: which rows each update takes, its
learning rate, what the loss is divided by. The worker carries it out and reports by files. It needs
PyTorch 2.6 and transformers 4.56, or later, and nothing else.
"""

import contextlib
import ctypes
import inspect
import json
import os
import re
import signal
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace


def die_with_the_launcher():
    """A launcher killed with -9 cannot stop its ranks, which would go on training and writing."""
    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


# Before the imports below, which take seconds in which a launcher may die.
die_with_the_launcher()

RANK = int(os.environ.get("RANK", 0))
RANKS = int(os.environ.get("WORLD_SIZE", 1))

# What an error is about: the update in progress, and the rows of this rank's pass.
AT = SimpleNamespace(update=None, rows=[])


class Refused(Exception):
    """An error of a kind that latrace knows, with its message."""

    def __init__(self, kind, message, rows=None):
        super().__init__(message)
        self.kind, self.rows = kind, rows


def write_error(work, kind, message, rows=None):
    """One file per rank, whole at once: files of other machines cannot be appended to safely."""
    record = {
        "kind": kind,
        "rank": RANK,
        "time": time.time(),
        "update": AT.update,
        "rows": AT.rows if rows is None else rows,
        "message": message,
    }
    path = os.path.join(work, f"error-{RANK}.json")
    # On a full disk the log alone has to do.
    with contextlib.suppress(OSError):
        with open(path + ".unfinished", "w") as file:
            json.dump(record, file)
        os.replace(path + ".unfinished", path)


def read_job(path):
    with open(path) as file:
        return json.load(file, object_hook=lambda fields: SimpleNamespace(**fields))


# The first versions with all that is used here.
NEEDED = {"torch": (2, 6), "transformers": (4, 56)}


def check_version(module):
    """An older version fails too, but by the name of what it lacks."""
    found = tuple(int(part) for part in re.findall(r"\d+", module.__version__)[:2])
    needed = NEEDED[module.__name__]
    if found < needed:
        needed = ".".join(map(str, needed))
        raise ImportError(f"found {module.__name__} {module.__version__}, needed {needed} or later")


try:
    import torch
    import transformers

    check_version(torch)
    check_version(transformers)
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from safetensors import safe_open
    from safetensors.torch import save_file
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
    from torch.utils.checkpoint import checkpoint
    from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM
except ImportError as missing:
    write_error(os.path.dirname(sys.argv[1]), "missing", f"{sys.executable}: {missing}")
    raise

try:
    # FlashAttention over packed sequences; not in every version, and for CUDA alone.
    from torch.nn.attention.varlen import varlen_attn

    # Its first versions take neither a window nor grouped heads.
    lacking = {"scale", "window_size", "enable_gqa"} - set(inspect.signature(varlen_attn).parameters)
    NO_VARLEN = f"its varlen_attn takes no {', '.join(sorted(lacking))}" if lacking else None
except ImportError as missing:
    NO_VARLEN = str(missing)

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}

# Memory for a chunk's logits, in f32: with their gradient and copies, a few times as much.
LOGIT_BYTES = 1 << 28


# Rows ----------------------------------------------------------------------------------------------


def crc32c(data):
    """CRC-32C, which the standard library lacks."""
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def crc_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_TABLE = [crc_entry(byte) for byte in range(256)]


@dataclass
class Row:
    """A prompt and its response, with one number of each kind for each response token."""

    id: str
    tokens: list
    prompt: int
    weights: list
    advantages: list
    old_logp: list


class RowFile:
    """latrace's file of training rows: crates/latrace-lm/src/row_file.rs says how it is laid out."""

    HEADER, ENTRY = struct.Struct("<8sIIQQ"), struct.Struct("<QIIIII")

    def __init__(self, path):
        self.path, self.file = path, os.open(path, os.O_RDONLY)
        header = os.pread(self.file, self.HEADER.size, 0)
        self.check(len(header) == self.HEADER.size, "its header is cut short")
        magic, version, checksum, rows, index_at = self.HEADER.unpack(header)
        self.check((magic, version) == (b"lat-rows", 2), f"expected version 2, got {magic!r} {version}")
        index = os.pread(self.file, rows * self.ENTRY.size, index_at)
        self.check(len(index) == rows * self.ENTRY.size, "its index is cut short")
        self.check(crc32c(index) == checksum, "expected an index with another checksum")
        self.entries = list(self.ENTRY.iter_unpack(index))

    def check(self, holds, detail):
        if not holds:
            raise Refused("rows", detail)

    def length(self, row, limit):
        """Tokens of prompt and response, once cut."""
        _, prompt, response, *_ = self.entries[row]
        return min(prompt + response, limit)

    def read(self, row, limit):
        """A row, cut to `limit` tokens."""
        offset, prompt, response, size, checksum, _ = self.entries[row]
        data = os.pread(self.file, size, offset)
        self.check(crc32c(data) == checksum, f"row {row}: expected checksum {checksum:08x}")
        reader = Words(data)
        name = reader.text()
        tokens = reader.words("I", prompt + response)
        weights = reader.each(response)
        advantages, old_logp = reader.policy(response)
        kept = min(prompt + response, limit) - prompt
        cut = [numbers[:kept] for numbers in (weights, advantages, old_logp)]
        return Row(name, tokens[: prompt + kept], prompt, *cut)


class Words:
    """The bytes of a row that are not decoded yet."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def words(self, kind, count):
        values = struct.unpack_from(f"<{count}{kind}", self.data, self.at)
        self.at += 4 * count
        return list(values)

    def text(self):
        (size,) = self.words("I", 1)
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def each(self, response):
        """One number per response token; a count of 0 stands for one number for all of them."""
        (count,) = self.words("I", 1)
        return self.words("f", count) if count else self.words("f", 1) * response

    def policy(self, response):
        if self.words("I", 1) == [0]:
            return [], []
        first, end = self.words("I", 2)
        advantages = self.each(response)
        # Tokens that the policy was given are no actions: their advantage is 0.
        advantages = [0.0 if first <= t < end else value for t, value in enumerate(advantages)]
        return advantages, self.words("f", response)


# Batches -------------------------------------------------------------------------------------------


def deal(lengths, ranks):
    """Places of the rows of each rank: long rows first, each to the rank with the fewest tokens."""
    shares, tokens = [[] for _ in range(ranks)], [0] * ranks
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        rank = min(range(ranks), key=lambda rank: (tokens[rank], rank))
        shares[rank].append(place)
        tokens[rank] += lengths[place]
    return [sorted(share) for share in shares]


def packs(places, lengths, budget):
    """Rows of each pass: in order, of at most `budget` tokens together."""
    passes, tokens = [], 0
    for place in places:
        if not passes or tokens + lengths[place] > budget:
            passes.append([])
            tokens = 0
        passes[-1].append(place)
        tokens += lengths[place]
    return passes


def my_passes(lengths, budget):
    """This rank's passes. Every rank has as many, or collective operations would wait for each other forever:
    a pass without rows is a dummy."""
    all_passes = [packs(share, lengths, budget) for share in deal(lengths, RANKS)]
    most = max(map(len, all_passes))
    return all_passes[RANK] + [[]] * (most - len(all_passes[RANK]))


@dataclass
class Batch:
    """Rows packed end to end: position t of a row predicts its token t + 1."""

    ids: list = field(default_factory=list)
    positions: list = field(default_factory=list)
    ends: list = field(default_factory=lambda: [0])
    # Positions whose next token is scored, and one value of each kind for each of those.
    scored: list = field(default_factory=list)
    targets: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    advantages: list = field(default_factory=list)
    old_logp: list = field(default_factory=list)

    def add(self, row, divisor, keep_all):
        start = len(self.ids)
        self.ids += row.tokens
        self.positions += range(len(row.tokens))
        self.ends.append(len(self.ids))
        for t, weight in enumerate(row.weights):
            if weight != 0 or keep_all:
                self.score(start + row.prompt + t, weight / divisor)
                self.advantages += row.advantages[t : t + 1]
                self.old_logp += row.old_logp[t : t + 1]

    def score(self, at, weight):
        self.scored.append(at - 1)
        self.targets.append(self.ids[at])
        self.weights.append(weight)

    def fill(self):
        """Every rank's pass uses every parameter, the head too: FSDP reduces the gradients of those that have
        one, and ranks that disagree about it add up the wrong numbers."""
        if len(self.ids) < 2:
            self.ids, self.positions, self.ends = [0, 0], [0, 1], [0, 2]
        if not self.scored:
            self.score(1, 0.0)
            # A ratio of 1 and no advantage, whatever the loss.
            self.advantages, self.old_logp = [0.0], [0.0]
        return self


def batch_of(rows, divisor, keep_all=False):
    batch = Batch()
    for row in rows:
        batch.add(row, divisor, keep_all)
    return batch.fill()


# Model ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def parameters_on_meta():
    """Modules built within have parameters without memory, but real buffers: those of rotary embeddings are
    computed in constructors, each version's in its own way, and could not be computed again afterwards."""
    register = nn.Module.register_parameter

    def on_meta(module, name, parameter):
        # One that is on meta stays the same object: a tied one has two owners.
        if parameter is not None and not parameter.is_meta:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def packed_attention(
    module, query, key, value, mask, scaling=None, cu_seq_lens_q=None, max_length_q=None, **_
):
    """Causal attention of packed rows, each on its own: 1×heads×tokens×width to 1×tokens×heads×width."""
    query, key, value = (states.transpose(1, 2)[0] for states in (query, key, value))
    groups = query.shape[1] != key.shape[1]
    if NO_VARLEN is None and query.is_cuda and query.dtype != torch.float32:
        # Not run by the project's tests, which have no GPU.
        ends, longest = cu_seq_lens_q, max_length_q
        causal = (-1, 0)
        output = varlen_attn(
            query, key, value, ends, ends, longest, longest,
            scale=scaling, window_size=causal, enable_gqa=groups,
        )
        return output[None], None
    outputs = []
    # Row by row: with a mask over all of them, the cost would be the square of their sum.
    for first, end in zip(cu_seq_lens_q[:-1].tolist(), cu_seq_lens_q[1:].tolist()):
        row = [states[first:end].transpose(0, 1)[None] for states in (query, key, value)]
        output = nn.functional.scaled_dot_product_attention(
            *row, is_causal=True, scale=scaling, enable_gqa=groups
        )
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)[None], None


AttentionInterface.register("latrace_packed", packed_attention)


def chosen_attention(job, config, device):
    """The attention, and the tokens of a pass: 0 is a pass for each row."""
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    packed = job.attention == "packed" or (
        job.attention == "auto" and device.type == "cuda" and layers == {"full_attention"}
    )
    if packed and layers != {"full_attention"}:
        raise Refused("model", f'attention = "packed" is for full attention; the model has {sorted(layers)}')
    if packed:
        return "latrace_packed", job.tokens_per_micro_batch
    return ("sdpa" if job.attention == "auto" else job.attention), 0


def remark_on(attention, device):
    """What a user of packed attention should know about this version of PyTorch."""
    if attention != "latrace_packed" or device.type != "cuda" or NO_VARLEN is None:
        return None
    return (
        f"torch {torch.__version__} has no FlashAttention for packed rows ({NO_VARLEN}): "
        "the attention of each row is computed on its own, which is slower"
    )


class LogProbs(nn.Module):
    """A language model whose forward pass ends in log-probs. The head is part of it, since FSDP has the
    root's parameters whole within its forward and backward passes alone."""

    def __init__(self, lm):
        super().__init__()
        self.lm = lm

    def forward(self, ids, positions, ends, longest, scored, targets):
        hidden = self.lm.base_model(
            input_ids=ids[None],
            position_ids=positions[None],
            use_cache=False,
            # Read by packed attention alone.
            cu_seq_lens_q=ends,
            cu_seq_lens_k=ends,
            max_length_q=longest,
            max_length_k=longest,
        ).last_hidden_state[0, scored]
        head = self.lm.get_output_embeddings()
        size = max(1, LOGIT_BYTES // (4 * head.weight.shape[0]))
        # Chunk by chunk, and again in the backward pass: the logits of a long row over a vocabulary of
        # 150,000 would be larger than the model.
        chunks = [
            checkpoint(chunk_logp, head, part, target, use_reentrant=False, preserve_rng_state=False)
            for part, target in zip(hidden.split(size), targets.split(size))
        ]
        return torch.cat(chunks)


def chunk_logp(head, hidden, targets):
    logits = head(hidden).float()
    return logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)


def refuse_unknown_heads(config):
    """What stands between the head and the logits in some families, and would be left out here."""
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise Refused("model", f"config.json: {name} is not supported")


def decoder_layers(lm, config):
    for module in lm.modules():
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
            return list(module)
    raise Refused("model", f"{type(lm).__name__} has no list of {config.num_hidden_layers} layers")


def build(job, config, attention, device):
    """The model, sharded over all ranks, its weights not read yet."""
    with parameters_on_meta():
        lm = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    # Master weights are f32 whatever the files hold. Dropout is off, in training too.
    lm.float().eval()
    lm.tie_weights()
    layers = decoder_layers(lm, config)
    if job.activation_checkpointing:
        for layer in layers:
            layer.forward = partial(
                checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
            )
    model = LogProbs(lm)
    shard(job, model, layers, device)
    buffers = {name: buffer.clone() for name, buffer in lm.named_buffers()}
    model.to_empty(device="cpu" if job.cpu_offload else device)
    # `to_empty` empties the buffers, and in some versions gives the two uses of a tied weight a tensor each.
    lm.tie_weights()
    for name, buffer in buffers.items():
        owner, _, last = name.rpartition(".")
        setattr(lm.get_submodule(owner), last, buffer.to(device))
    check_tied(lm, config)
    return model


def shard(job, model, layers, device):
    compute = DTYPES[job.compute]
    options = {
        "mesh": init_device_mesh(device.type, (RANKS,)),
        "mp_policy": MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32),
        "offload_policy": CPUOffloadPolicy(pin_memory=device.type == "cuda")
        if job.cpu_offload
        else OffloadPolicy(),
    }
    for layer in layers:
        fully_shard(layer, **options)
    # Everything else is one group, of the root: embedding and head must be in one, since they may be tied.
    fully_shard(model, **options)


def check_tied(lm, config):
    if not config.tie_word_embeddings:
        return
    if lm.get_output_embeddings().weight is not lm.get_input_embeddings().weight:
        raise Refused("model", "the head is tied to the embedding in config.json, but not in the model")


def local(tensor):
    """This rank's part of a sharded tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def weight_files(folder):
    """By tensor, the file that has it."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        with open(index) as file:
            return {name: os.path.join(folder, part) for name, part in json.load(file)["weight_map"].items()}
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, "pt") as file:
        return {name: path for name in file.keys()}


def check_names(files, names, config):
    missing = sorted(set(names) - set(files))
    ignored = {"lm_head.weight"} if config.tie_word_embeddings else set()
    extra = sorted(n for n in set(files) - set(names) - ignored if not n.endswith("rotary_emb.inv_freq"))
    if missing or extra:
        detail = f"the files lack {missing[:4]}, and hold beyond them {extra[:4]}"
        raise Refused("model", f"its tensors are not the parameters of {config.architectures}: {detail}")


def load_weights(lm, folder, device):
    """Rank 0 alone reads, a tensor at a time, and sends it to all: every rank keeps its part."""
    parameters = dict(lm.named_parameters())
    if RANK == 0:
        files = weight_files(folder)
        check_names(files, parameters, lm.config)
        opened = {path: safe_open(path, "pt") for path in set(files.values())}
    for name, parameter in parameters.items():
        if RANK == 0:
            whole = opened[files[name]].get_tensor(name)
            if whole.shape != parameter.shape:
                expected, got = tuple(parameter.shape), tuple(whole.shape)
                raise Refused("model", f"{name}: expected shape {expected}, got {got}")
            whole = whole.to(device, torch.float32).contiguous()
        else:
            whole = torch.empty(parameter.shape, device=device)
        dist.broadcast(whole, 0)
        part, parts = local(parameter.detach()), whole.chunk(RANKS)
        # FSDP gives ranks the chunks of the first axis; of a short one, the last ranks have none.
        if RANK < len(parts):
            part.copy_(parts[RANK])


# Optimiser and checkpoints -------------------------------------------------------------------------


def optimiser_for(job, lm, step):
    """AdamW with its moments, which are made here so that a checkpoint can be read into them."""
    settings = job.optimiser
    groups = {True: [], False: []}
    for parameter in lm.parameters():
        # Norms and biases are the vectors.
        groups[settings.decay_norms_and_biases or parameter.ndim > 1].append(parameter)
    optimiser = torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": settings.weight_decay if decays else 0.0}
            for decays, parameters in groups.items()
            if parameters
        ],
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )
    for parameter in lm.parameters():
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {"step": torch.tensor(float(step)), **moments}
    return optimiser


def checkpoint_state(lm, optimiser):
    """Weights and moments by name; loading fills the tensors in place."""
    state = {}
    for name, parameter in lm.named_parameters():
        moments = optimiser.state[parameter]
        state[f"weight.{name}"] = parameter.detach()
        state[f"first.{name}"], state[f"second.{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
    return state


def write_checkpoint(job, lm, optimiser, step):
    name = f"checkpoint-{step}"
    folder = os.path.join(job.work, name)
    if RANK == 0:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "training.json"), "w") as file:
            json.dump({"step": step, "fingerprint": job.fingerprint, "ranks": RANKS}, file)
    dist.barrier()
    # `.metadata` comes last, when all ranks have written: without it the folder is no checkpoint.
    dcp.save(checkpoint_state(lm, optimiser), checkpoint_id=folder)
    report(job, "checkpoint", step=step)


def save_model(job, lm, device):
    """Weights as safetensors, in shards: a tensor at a time is whole, and at most a shard is held."""
    target, folder = os.path.join(job.work, "model"), os.path.join(job.work, "model.unfinished")
    dtype = DTYPES[job.save_dtype]
    parameters = dict(lm.named_parameters())
    sizes = {name: parameter.numel() * dtype.itemsize for name, parameter in parameters.items()}
    shards = packs(sizes, sizes, job.shard_bytes)
    if RANK == 0:
        os.makedirs(folder)
    places = {}
    for number, names in enumerate(shards, 1):
        of = f"-{number:05}-of-{len(shards):05}" if len(shards) > 1 else ""
        file = f"model{of}.safetensors"
        tensors = {name: whole_tensor(parameters[name], dtype, device) for name in names}
        places.update(dict.fromkeys(names, file))
        if RANK == 0:
            path = os.path.join(folder, file)
            save_file(tensors, path, metadata={"format": "pt"})
            # safetensors makes files that only their owner can read.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(path, 0o666 & ~mask)
    if RANK == 0:
        if len(shards) > 1:
            write_index(folder, places, sum(sizes.values()), sum(p.numel() for p in parameters.values()))
        os.rename(folder, target)
    dist.barrier()


def whole_tensor(parameter, dtype, device):
    """A tensor on the host, on rank 0; nothing elsewhere."""
    whole = parameter.detach().to(device)
    whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
    return whole.to(dtype).cpu().contiguous() if RANK == 0 else None


def write_index(folder, places, size, count):
    index = {"metadata": {"total_parameters": count, "total_size": size}, "weight_map": places}
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump(index, file, indent=2)


# Training ------------------------------------------------------------------------------------------


def report(job, event, **fields):
    """Adds a line to the events that latrace follows."""
    if RANK == 0:
        with open(os.path.join(job.work, "events.jsonl"), "a") as file:
            file.write(json.dumps({"event": event, **fields}) + "\n")


def logp_of(model, batch, device):
    """log p (nats) of each scored token."""
    whole = partial(torch.tensor, dtype=torch.long, device=device)
    ends = torch.tensor(batch.ends, dtype=torch.int32, device=device)
    longest = max(batch.positions) + 1
    return model(
        whole(batch.ids), whole(batch.positions), ends, longest, whole(batch.scored), whole(batch.targets)
    )


def token_losses(loss, batch, logp):
    """Loss of each scored token, in the type of `logp`."""
    numbers = partial(torch.tensor, dtype=torch.float32, device=logp.device)
    weights = numbers(batch.weights).to(logp.dtype)
    if loss.kind == "nll":
        return -weights * logp
    advantages, old = numbers(batch.advantages).to(logp.dtype), numbers(batch.old_logp).to(logp.dtype)
    ratio = (logp - old).exp()
    clipped = ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high)
    return -weights * torch.minimum(ratio * advantages, clipped * advantages)


def run_pass(job, model, rows, divisor, device):
    """Adds the gradient of a pass, and returns its loss."""
    AT.rows = [row.id for row in rows]
    batch = batch_of(rows, divisor)
    logp = logp_of(model, batch, device)
    # FSDP averages gradients over the ranks, but the rows' losses add up.
    (token_losses(job.loss, batch, logp).sum() * RANKS).backward()
    # The reported value is summed in f64, as the built-in trainer does.
    return token_losses(job.loss, batch, logp.detach().double()).sum().item()


def squared_norm(lm):
    """Σ of squares of this rank's part of the gradient."""
    gradients = [local(p.grad) for p in lm.parameters() if p.grad is not None]
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
    return sum(norm.item() ** 2 for norm in norms)


def peak_memory_bytes(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:")), 0)


def from_all(value):
    """A value of each rank, on each rank."""
    values = [None] * RANKS
    dist.all_gather_object(values, value)
    return values


def is_finite(number):
    return abs(number) < float("inf")


def check_finite(losses, norm):
    """Before the update: one NaN would spread to all weights and moments. All ranks see the same numbers."""
    loss = sum(loss for loss, _ in losses)
    what = f"loss {loss}" if not is_finite(loss) else f"gradient norm {norm}"
    if is_finite(loss) and is_finite(norm):
        return
    # Without a loss that is not finite, any row may be the cause.
    bad = [name for loss, names in losses if not is_finite(loss) for name in names]
    raise Refused("non-finite", what, bad or [name for _, names in losses for name in names])


def update(job, model, optimiser, rows, planned, passes_of, device):
    """One optimiser step; nothing is changed where a loss is not finite."""
    start = time.monotonic()
    AT.update = planned.number
    # None from the last update: gradients of the passes add up.
    optimiser.zero_grad()
    lengths = [rows.length(row, job.row_limit) for row in planned.rows]
    mine = []
    for places in passes_of(lengths):
        batch = [rows.read(planned.rows[place], job.row_limit) for place in places]
        loss = run_pass(job, model, batch, planned.divisor, device)
        mine.append((loss, AT.rows))
    # What fails from here on is not about the rows of the last pass.
    AT.rows = []
    gathered = from_all((mine, squared_norm(model.lm), peak_memory_bytes(device)))
    losses = [loss for of_rank, _, _ in gathered for loss in of_rank]
    norm = sum(squares for _, squares, _ in gathered) ** 0.5
    check_finite(losses, norm)
    step(job.optimiser, model.lm, optimiser, planned.learning_rate, norm)
    report(
        job,
        "update",
        number=planned.number,
        loss=sum(loss for loss, _ in losses),
        grad_norm=norm,
        seconds=time.monotonic() - start,
        peak_memory_bytes=max(peak for _, _, peak in gathered),
    )


def step(settings, lm, optimiser, rate, norm):
    scale = min(settings.clip_norm / (norm + 1e-6), 1.0) if settings.clip_norm > 0 else 1.0
    for parameter in lm.parameters():
        if parameter.grad is not None:
            local(parameter.grad).mul_(scale)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()


def read_plan(path, done):
    with open(path) as file:
        for line in file:
            planned = SimpleNamespace(**json.loads(line))
            if planned.number > done:
                yield planned


def train(job, model, passes_of, device, remark):
    done = job.resume.step if job.resume else 0
    optimiser = optimiser_for(job, model.lm, done)
    if job.resume:
        dcp.load(checkpoint_state(model.lm, optimiser), checkpoint_id=job.resume.folder)
    else:
        load_weights(model.lm, job.model, device)
    rows = RowFile(job.rows)
    report_start(job, device, remark)
    for planned in read_plan(job.plan, done):
        update(job, model, optimiser, rows, planned, passes_of, device)
        last = planned.number == job.total_updates
        # The last one too: the model may still fail to be saved, on a full disk.
        if job.checkpoint_every and (last or planned.number % job.checkpoint_every == 0):
            write_checkpoint(job, model.lm, optimiser, planned.number)
    save_model(job, model.lm, device)
    report(job, "saved")


# Scoring -------------------------------------------------------------------------------------------


def windows(job):
    """Lines that latrace adds to a file while this runs, on every rank."""
    with open(job.windows) as file:
        while True:
            line = [next_line(file) if RANK == 0 else None]
            dist.broadcast_object_list(line, 0)
            window = json.loads(line[0])
            if window is None:
                return
            yield SimpleNamespace(**window)


def next_line(file):
    line = ""
    while not line.endswith("\n"):
        part = file.readline()
        line += part
        if not part:
            time.sleep(0.02)
    return line


def score(job, model, passes_of, device, remark):
    """Writes the log-probs of each window's rows, in order, as 32-bit floats."""
    load_weights(model.lm, job.model, device)
    report_start(job, device, remark)
    for window in windows(job):
        rows = RowFile(window.rows)
        lengths = [rows.length(row, sys.maxsize) for row in range(len(rows.entries))]
        scores = {}
        for places in passes_of(lengths):
            placed = [(place, rows.read(place, sys.maxsize)) for place in places]
            scores.update(score_pass(model, placed, device))
        os.close(rows.file)
        gathered = from_all(scores)
        if RANK == 0:
            write_scores(window.scores, {place: logp for part in gathered for place, logp in part.items()})
        report(job, "scored", rows=len(lengths))


def score_pass(model, placed, device):
    AT.rows = [row.id for _, row in placed]
    with torch.no_grad():
        logp = logp_of(model, batch_of([row for _, row in placed], 1.0, keep_all=True), device)
    parts = logp.float().cpu().split([len(row.weights) for _, row in placed]) if placed else []
    return {place: part.tolist() for (place, _), part in zip(placed, parts)}


def write_scores(path, scores):
    with open(path, "wb") as file:
        for place in sorted(scores):
            file.write(struct.pack(f"<{len(scores[place])}f", *scores[place]))


# Processes -----------------------------------------------------------------------------------------


def join_group(job):
    """This rank's device, in the group of all ranks."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0:
        raise Refused("restart", "the launcher started the ranks again; resuming is latrace's own work")
    from datetime import timedelta

    options = {"timeout": timedelta(seconds=job.timeout)}
    if "RANK" not in os.environ:
        # Without a launcher: a group of one.
        options |= {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    if not torch.cuda.is_available():
        dist.init_process_group("gloo", **options)
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    # Objects and offloaded tensors travel between hosts, everything else between devices.
    dist.init_process_group("cpu:gloo,cuda:nccl", **options)
    return device


def report_start(job, device, remark):
    report(
        job,
        "started",
        ranks=RANKS,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        torch=torch.__version__,
        transformers=transformers.__version__,
        remark=remark,
    )


def run(job):
    device = join_group(job)
    config = AutoConfig.from_pretrained(job.model)
    config.dtype = torch.float32
    refuse_unknown_heads(config)
    attention, budget = chosen_attention(job, config, device)
    model = build(job, config, attention, device)
    passes_of = partial(my_passes, budget=budget)
    work = {"train": train, "score": score}[job.mode]
    work(job, model, passes_of, device, remark_on(attention, device))
    dist.barrier()
    dist.destroy_process_group()


def kind_of(error):
    """What kind of error latrace should tell its user about."""
    text = f"{type(error).__name__}: {error}"
    signs = {
        "memory": ("OutOfMemoryError", "can't allocate memory", "out of memory"),
        "disk": ("No space left on device", "os error 28"),
        # The consequence of another rank's end, which is the error to show.
        "peer": ("Connection closed by peer", "Connection reset by peer", "DistBackendError", "Broken pipe"),
    }
    return next((kind for kind, known in signs.items() if any(sign in text for sign in known)), "other")


def main():
    job = read_job(sys.argv[1])
    try:
        run(job)
    except Refused as refused:
        write_error(job.work, refused.kind, str(refused), refused.rows)
        if refused.kind == "non-finite":
            # All ranks end here at once, and the first to leave has the launcher stop the others.
            dist.barrier()
        raise
    except Exception as error:
        # Exceptions of checkpoints have their cause in their text alone.
        write_error(job.work, kind_of(error), "".join(traceback.format_exception_only(error)).strip())
        raise


if __name__ == "__main__":
    main()
