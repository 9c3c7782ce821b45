"""Stands in for torchrun in tests. Importing PyTorch and transformers takes many seconds of a processor, which
ranks that are forked from one process need only once.

    fork_server.py serve SOCKET                        prints "ready"; ends with its standard input
    fork_server.py run SOCKET RANKS WORKER JOB         what a test's launch command is; 0 ranks are one process
                                                       that knows of no group
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading


def serve(path):
    os.environ["OMP_NUM_THREADS"] = "1"
    preload()
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            launch(connection)
        connection.close()


def end_with_standard_input():
    sys.stdin.read()
    os._exit(0)


def preload():
    for module in ("safetensors.torch", "torch.distributed.checkpoint", "torch.distributed.fsdp", "transformers"):
        importlib.import_module(module)
    # transformers imports what a name needs when it is asked for.
    for name in ("AutoModelForCausalLM", "LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"):
        getattr(sys.modules["transformers"], name)


def launch(connection):
    """Forks the ranks of a request, and stops all when one fails or the client goes."""
    data, output, _, _ = socket.recv_fds(connection, 1 << 16, 2)
    request = json.loads(data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {fork_rank(request, rank, port, output) for rank in range(max(1, request["ranks"]))}
    code = 0
    while ranks:
        gone, _, _ = select.select([connection], [], [], 0.02)
        pid, status = os.waitpid(-1, os.WNOHANG)
        ranks.discard(pid)
        if pid and status != 0:
            os.write(output[1], f"a rank ended with status {status}\n".encode())
        if gone or (pid and status != 0):
            code = 1
            for rank in ranks:
                os.kill(rank, signal.SIGKILL)
    # A client that was killed does not wait for the answer.
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(bytes([code]))
    os._exit(0)


def fork_rank(request, rank, port, output):
    pid = os.fork()
    if pid:
        return pid
    for target, file in enumerate(output, 1):
        os.dup2(file, target)
    os.environ |= request["env"]
    if request["ranks"]:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(request["ranks"]), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.argv = request["argv"]
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(path, ranks, argv):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    request = {"ranks": ranks, "argv": argv, "env": {"HF_HUB_OFFLINE": "1"}}
    socket.send_fds(connection, [json.dumps(request).encode()], [1, 2])
    answer = connection.recv(1)
    sys.exit(answer[0] if answer else 1)


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    run(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
