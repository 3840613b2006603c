"""Sums of tensors over processes: in shared memory on one machine, else by messages."""

from __future__ import annotations

import os
import shutil
import tempfile
from multiprocessing.connection import Client, Listener

import torch
import torch.distributed as dist

_SHARED_MEMORY = "/dev/shm"  # files in memory, on Linux
_LARGE = 2**14  # numbers that are sent as they are, not copied to one array with others


class Exchange:
    """Sums of tensors over the processes of torch's default group.

    It has a group of its own, so that closing it raises an error in the processes that wait for
    this one, and leaves the default group alone.

    On one machine the processes add up tensors in shared memory, and wait for each other at Unix
    sockets. Both take a fraction of the time of gloo's messages, which go through TCP and threads
    that need the cores, too: an update of a matrix factorization takes them longer than its loss.

    Parameters
    ----------
    n_floats : int
        The most numbers that are added up at once.
    device : torch.device
        The device of all tensors, which are of float32.
    """

    def __init__(self, n_floats, device):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._group = dist.new_group(timeout=_timeout(device))
        self._memory, self._peers = None, []
        if self.size > 1 and device.type == "cpu":
            self._share_memory(n_floats)

    def close(self):
        """Close the connections to the other processes."""
        for peer in self._peers:
            peer.close()
        dist.destroy_process_group(self._group)
        del self._group, self._memory  # the last reference to the group closes it

    def add_up(self, tensors):
        """Replace tensors by their sums over all processes, the same bits in each process."""
        try:
            if self._memory is None:
                self._add_messages(tensors)
            else:
                self._add_memory(tensors)
        except (RuntimeError, OSError, EOFError) as error:
            raise RuntimeError(
                "Another process has ended its fit, or cannot be reached; see its error."
            ) from error

    def count(self, flag):
        """Return the number of processes in which a flag is true."""
        count = torch.tensor(float(flag))
        self.add_up([count])
        return int(count)

    def broadcast(self, tensor, rank):
        """Replace a tensor by that of a process."""
        dist.broadcast(tensor, rank, group=self._group)

    def gather(self, value):
        """Return the values of all processes in the first one, None in the others."""
        values = [None] * self.size if self.rank == 0 else None
        dist.gather_object(value, values, 0, group=self._group)
        return values

    def scatter(self, values):
        """Return this process's one of the values that the first process passes."""
        own = [None]
        dist.scatter_object_list(own, values, 0, group=self._group)
        return own[0]

    def _share_memory(self, n_floats):
        """Set a Tensor with a row for each process, and connections, if all are on one machine."""
        folder, n_floats, listener = None, self.size * n_floats, None
        if self.rank == 0:
            folder = _folder_with_memory(4 * n_floats)
            if folder is not None:
                listener = Listener(os.path.join(folder, "socket"), "AF_UNIX", self.size)
        try:
            folders = [folder]
            dist.broadcast_object_list(folders, 0, group=self._group)
            if folders[0] is not None:
                self._connect(folders[0], n_floats, listener)
        finally:
            if listener is not None:
                listener.close()
                shutil.rmtree(folder)  # what is open stays until the last process ends

    def _connect(self, folder, n_floats, listener):
        """Set the Tensor and the connections if all processes see a folder."""
        path, memory = os.path.join(folder, "memory"), None
        if os.path.exists(path):
            memory = torch.from_file(path, shared=True, size=n_floats).view(self.size, -1)
            if self.rank:
                self._peers = [Client(os.path.join(folder, "socket"), "AF_UNIX")]
        if self.count(memory is not None) == self.size:  # or it would wait for a killed process
            if self.rank == 0:
                self._peers = [listener.accept() for _ in range(1, self.size)]
            self._memory = memory

    def _wait(self):
        """Wait until all processes have come here: the first one hears and tells all others."""
        for peer in self._peers:
            if self.rank:
                peer.send_bytes(b"")
            peer.recv_bytes()
        if self.rank == 0:
            for peer in self._peers:
                peer.send_bytes(b"")

    def _add_memory(self, tensors):
        sizes = [tensor.numel() for tensor in tensors]
        rows = [row[: sum(sizes)].split(sizes) for row in self._memory]
        for tensor, part in zip(tensors, rows[self.rank], strict=True):
            part.view_as(tensor).copy_(tensor)
        self._wait()
        for tensor, *parts in zip(tensors, *rows, strict=True):
            # in the same order everywhere, as rounding depends on it; a + b = b + a
            first, second, *others = (part.view_as(tensor) for part in parts)
            if self.rank < 2:  # its own part is at hand
                tensor.add_(first if self.rank else second)
            else:
                torch.add(first, second, out=tensor)
            for part in others:
                tensor.add_(part)
        self._wait()  # all have read what the next call overwrites

    def _add_messages(self, tensors):
        large = [tensor for tensor in tensors if tensor.numel() >= _LARGE]
        small = [tensor for tensor in tensors if tensor.numel() < _LARGE]
        sums = [tensor.contiguous() for tensor in large]
        if small:
            sums.append(torch.cat([tensor.flatten() for tensor in small]))
        works = [dist.all_reduce(total, group=self._group, async_op=True) for total in sums]
        for work in works:
            work.wait()
        if small:
            totals = sums.pop().split([tensor.numel() for tensor in small])
            sums += [total.view_as(tensor) for total, tensor in zip(totals, small, strict=True)]
        for tensor, total in zip([*large, *small], sums, strict=True):
            if total is not tensor:
                tensor.copy_(total)


def _timeout(device):
    """Return the timeout of the default group, which a new one does not take over by itself."""
    backend = dist.group.WORLD._get_backend(device)  # there is no public way
    return getattr(getattr(backend, "options", None), "_timeout", None)


def _folder_with_memory(n_bytes):
    """Return a new folder in memory with a file "memory"; None without enough shared memory."""
    if not os.path.isdir(_SHARED_MEMORY):
        return None
    folder = tempfile.mkdtemp(dir=_SHARED_MEMORY, prefix="sklearn_recsys-")
    try:
        with open(os.path.join(folder, "memory"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # or writing would kill the process
    except OSError:  # there is less
        shutil.rmtree(folder)
        return None
    return folder
