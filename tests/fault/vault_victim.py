# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that records at eight times the speed of speech until it is killed.

Arguments: the vault's folder, the call, the recording, the seed of the audio. Prints `ready`, then before each further
write the samples that the writer has taken and how many of them it says are not sealed yet.
"""

import sys
import time
from pathlib import Path

from ivr.ledger.permit import verify_permit
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingWriter
from vault_kit import LENGTH, RATE, noise, permit_token

STEP = 160
FASTER = 8


def main() -> None:
    """Write 20 ms at a time, at FASTER times the speed."""
    folder, call, recording, seed = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    store = RecordingStore(folder / "recordings", folder / "keystore", folder / "recipients.txt", min_free_bytes=0)
    jws, vkey = permit_token(call, recording)
    writer = RecordingWriter(verify_permit(jws, vkey, call=call), store, RATE)
    writer.opened.result(20)
    caller, agent = noise(LENGTH, seed), noise(LENGTH, seed + 1)
    print("ready", flush=True)
    began = time.monotonic()
    for at in range(0, LENGTH, STEP):
        writer.write(caller[at : at + STEP], agent[at : at + STEP])
        unsealed = writer.unsealed
        print(at + STEP, unsealed, flush=True)
        # Speech is slower than a disk; at this speed a busy disk could fall behind, which is not what is tested here.
        while unsealed > 2 * RATE - STEP:
            time.sleep(0.001)
            unsealed = writer.unsealed
        due = began + (at + STEP) / (RATE * FASTER)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
